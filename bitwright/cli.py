"""The command line: `bitwright COMMAND ...`.

Answers go to stdout, progress and messages to stderr. Exit status: 0 solved or done, 2 bad usage or
input, 3 infeasible, 4 stopped without an answer; 1 is a fault of ours, 130 an interruption.
Commands, and the rooms, are imported when they are needed, so that `--help` stays quick.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

COMMANDS = {
    "run": "carry out a complete run: train, score, solve, verify, draw",
    "verify": "measure configurations of a run on the real network, after PTQ and after QAT",
    "solve": "find the best bits for a problem file within budgets",
    "front": "find the Pareto front of loss against costs for a problem file",
    "cost": "show the layers, ties and costs of a network",
    "compare": "set the answers of several solvers to a problem file side by side",
    "export": "write a configuration for other tools: ONNX, QONNX, TensorRT, YAML",
    "measure": "measure what layers and networks cost on this machine, as a table",
    "plugins": "list the solvers, cost models, measures, tasks and runtimes that are installed",
}

EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest valid name."""

    def error(self, message: str) -> NoReturn:
        if "unrecognized arguments" in message:
            from bitwright.problems.errors import nearest

            option = message.split(":", 1)[1].split(maxsplit=1)[0].split("=", maxsplit=1)[0]
            known = [
                o for action in self._actions for o in action.option_strings if o.startswith("--")
            ]
            message = f"unknown argument {option!r}; {nearest(option, known)}"
        self.exit(EXIT_INPUT, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _overview()
    if not given or given[0] in ("-h", "--help"):
        parser.print_help()
        return 0
    if given[0] == "--version":
        from bitwright.problems.version import __version__

        print(f"bitwright {__version__}")  # noqa: T201 - the answer
        return 0
    name, *rest = given
    if name not in COMMANDS:
        from bitwright.problems.errors import nearest

        sys.stderr.write(f"bitwright: unknown command {name!r}; {nearest(name, COMMANDS)}\n")
        return EXIT_INPUT
    return _run_command(name, rest)


def _overview() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:10}{text}" for name, text in COMMANDS.items())
    return argparse.ArgumentParser(
        prog="bitwright",
        usage="bitwright [--version] [--help] COMMAND ...",
        description="Decide how many bits each part of a network gets under hardware budgets.",
        epilog=f"commands:\n{listed}\n\n`bitwright COMMAND --help` shows a command's options and examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )


def _run_command(name: str, rest: list[str]) -> int:
    from bitwright.problems.errors import BitwrightError

    command = importlib.import_module(f"bitwright.commands.{name}")
    parser = _Parser(
        prog=f"bitwright {name}",
        allow_abbrev=False,
        description=(command.__doc__ or "").strip(),
        epilog=command.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    debug = "--debug" in rest
    try:
        options = parser.parse_args(rest)
        status: int = command.run(options)
        sys.stdout.flush()
    except SystemExit as stop:
        return int(stop.code or 0)
    except (BitwrightError, ModuleNotFoundError) as error:
        if debug:
            traceback.print_exc()
        else:
            sys.stderr.write(f"bitwright {name}: {_in_one_line(error)}\n")
        return EXIT_INPUT
    except KeyboardInterrupt:
        sys.stderr.write(f"bitwright {name}: interrupted; finished work is kept\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as in `bitwright front ... | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _in_one_line(error: Exception) -> str:
    """What an error says; a library that is missing comes with the command that installs it."""
    if isinstance(error, ModuleNotFoundError):
        from bitwright.problems.errors import missing_dependency

        library = (error.name or "").partition(".")[0]
        if library in ("", "bitwright"):
            raise error
        error = missing_dependency("what was asked for", library)
    from bitwright.text import printable

    return printable(" ".join(str(error).split()))
