"""`bitwright run` on the command line: what it prints and refuses; the stages have tests of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from ..pipeline.tiny_run import settings
from .problems import refused, run

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def file(tmp_path) -> Path:
    """A configuration that is done in seconds: nothing is verified but the solution."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings(
        solutions={"small": {"size_bits": "30%"}}, training={"epochs": 1, "batch_size": 64},
        verify={"front_points": 0},
    )))  # fmt: skip
    return tmp_path / "tiny.yaml"


def test_a_run_from_the_command_line(capsys, file, tmp_path):
    """The summary is on stdout, progress on stderr; --json and --quiet do as they say; --name makes a second run."""
    runs = tmp_path / "runs"
    status, out, err = run(capsys, "run", file, "--runs", runs)
    assert status == 0
    assert out.startswith("tiny: 4 layers, 4,912 weights; float accuracy 0.")
    assert f"Report: {runs / 'tiny/report.html'}\n" in out
    assert [line[:5] for line in err.splitlines() if line.startswith("[")] == [
        f"[{n}/8]" for n in range(1, 9)
    ]
    status, out, err = run(capsys, "run", file, "--runs", runs, "--json", "--quiet")
    assert (status, err) == (0, "")
    assert out == (runs / "tiny/verified.json").read_text()
    assert json.loads(out)["format"] == "bitwright-verified/1"


def test_show_config_prints_a_configuration(capsys, tmp_path):
    """--show-config prints every default, runs nothing, and what it prints can be run: it prints itself."""
    status, out, err = run(
        capsys, "run", CONFIGS / "digits.yaml", "--show-config", "--seed", "3", "--name", "again"
    )
    assert (status, err) == (0, "")
    assert yaml.safe_load(out)["seed"] == 3
    (tmp_path / "printed.yaml").write_text(out)
    assert run(capsys, "run", tmp_path / "printed.yaml", "--show-config") == (0, out, "")
    assert [p.name for p in tmp_path.iterdir()] == ["printed.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "../x"], "tiny.yaml: name: must be a plain name: letters, digits"),
        (["--seed", "-1"], "tiny.yaml: seed: input should be greater than or equal to 0, got -1"),
        (["--seeds", "1"], "unknown argument '--seeds'; did you mean '--seed'?"),
        (["--runs", "/proc/none"], "/proc/none/tiny: cannot be made: "),
    ],
)
def test_bad_arguments(capsys, file, arguments, message):
    """Every bad argument is one line that names it and its rule; nothing is made."""
    assert message in refused(capsys, "run", file, *arguments)
    assert [p.name for p in file.parent.iterdir()] == ["tiny.yaml"]


def test_a_missing_configuration(capsys, file):
    """A file that is not there is one line with the nearest one."""
    assert "tny.yaml: no such file; did you mean 'tiny.yaml'?" in refused(
        capsys, "run", file.parent / "tny.yaml"
    )
