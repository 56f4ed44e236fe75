"""The command line as a whole: dispatch, help, streams, exit status, tracebacks only on request."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bitwright import cli
from bitwright.cli import COMMANDS, main
from bitwright.problems.version import __version__

from .commands.problems import RESNET18


def bitwright(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "bitwright", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_a_process_answers_on_stdout_alone():
    """The answer of a real process is one JSON document on stdout, nothing is on stderr."""
    done = bitwright("solve", RESNET18, "--budget", "latency_ms=50%", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["status"] == "optimal"


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_overview(capsys, arguments):
    """No argument and --help list every command."""
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert not err
    assert all(f"\n  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(capsys, command):
    """Every command has a help with examples, on stdout."""
    assert main([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert not err
    assert f"bitwright {command}" in out.partition("examples:")[2]


def test_version(capsys):
    """--version prints the version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"bitwright {__version__}\n", "")


def test_unknown_command(capsys):
    """An unknown command is one line with the nearest one, exit 2."""
    assert main(["slove", "x"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("bitwright: unknown command 'slove'; did you mean 'solve'? Known: ")
    assert err.count("\n") == 1


def test_debug_shows_the_traceback(capsys):
    """With --debug an input error comes with its traceback, and with the same exit status."""
    assert main(["solve", "absent.json", "--debug"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("Traceback ")
    assert err.endswith("InputError: absent.json: no such file\n")


def test_errors_send_no_control_characters(capsys):
    """What an error quotes, such as a file's name, reaches the terminal escaped."""
    assert main(["solve", "a\x1b[2J\u202e.json"]) == 2
    said = capsys.readouterr().err
    assert said.strip("\n").isprintable()
    assert r"a\x1b[2J\u202e.json: no such file" in said


def test_interruption(capsys, monkeypatch):
    """Ctrl-C is one line and exit 130."""

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("bitwright.commands.solve.run", interrupted)
    assert main(["solve", RESNET18]) == cli.EXIT_INTERRUPTED == 130
    assert capsys.readouterr() == ("", "bitwright solve: interrupted; finished work is kept\n")


def test_a_reader_that_leaves():
    """`bitwright front ... | head -1` ends quietly."""
    command = f"{sys.executable} -m bitwright front {RESNET18} --cost latency_ms --csv | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("latency_ms,loss\n", "")


def test_an_encoding_that_lacks_a_character(tmp_path):
    """Where stdout cannot hold a name, one line says what to do, and nothing is half written."""
    text = "layer,weight_bits,activation_bits,loss\n😀,8,8,0\n"
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    done = bitwright("solve", str(tmp_path / "x.csv"), "--json", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "bitwright solve: the output's encoding 'ascii' has no character '\\U0001f600'; "
        "with PYTHONUTF8=1 it is utf-8\n"
    )


def test_plugins_as_json(capsys):
    """What is installed is listed with its kind, name, object and package."""
    assert main(["plugins", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    entry = {
        "kind": "solvers",
        "name": "exact",
        "object": "bitwright.search.exact:ExactSolver",
        "package": "bitwright",
    }
    assert entry in listed
    assert main(["plugins"]) == 0
    assert "bitwright.tasks.digits:Digits" in capsys.readouterr().out
