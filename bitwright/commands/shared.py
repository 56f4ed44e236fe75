"""Arguments and output that several commands share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bitwright.problems.budgets import Budget
from bitwright.problems.errors import InputError
from bitwright.problems.protocols import Effort
from bitwright.problems.solution import Status
from bitwright.text import printable

EXIT_STATUS = {Status.OPTIMAL: 0, Status.FEASIBLE: 0, Status.INFEASIBLE: 3, Status.STOPPED: 4}


def add_solving_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what all commands take that solve a problem."""
    parser.add_argument("problem", help="problem file: .json, .csv or .npz")
    parser.add_argument(
        "--budget", action="append", default=[], metavar="NAME=VALUE",
        help="limit on a cost: a number, a share of its range (50%%) or a number with a unit "
             "(size_bytes=1.5MB); may be given several times",
    )  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="seed of the solver (default 0)")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="stop the solver after S seconds"
    )
    parser.add_argument(
        "--states", type=int, metavar="N", help="stop the solver after N states or nodes"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--quiet", action="store_true", help="no messages on stderr")


def say_whose_costs(options: argparse.Namespace) -> None:
    """Say that a device changes the choices of a problem file and not what they cost there."""
    if options.device is not None:
        say(
            options, "costs are those of the problem file, not measured or estimated for the device"
        )


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the device that limits the choices, and the network by which it knows layers."""
    parser.add_argument(
        "--device", metavar="NAME|FILE",
        help="take only choices that this device can store, and say what each layer runs as on it: "
             "a name that `bitwright plugins` lists, or a device file",
    )  # fmt: skip
    parser.add_argument(
        "--network", type=Path, metavar="FILE",
        help="description of the network, by which --device knows the kinds of layers (default: "
             "network.json beside the problem, as in a run folder)",
    )  # fmt: skip


def add_solver_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the choice of one solver; `default` says in words what is taken without it."""
    parser.add_argument(
        "--solver", metavar="NAME[:OPTION=VALUE...]",
        help="solver by name, with its options behind colons, such as ilp:pulp_solver=HiGHS "
             f"({default}); `bitwright plugins` lists the names",
    )  # fmt: skip


def add_input_argument(parser: argparse.ArgumentParser) -> None:
    """Add the shapes in which a network is read."""
    parser.add_argument(
        "--input", action="append", default=[], type=shape, metavar="N,C,H,W",
        help="shape of an input, batch included (default: the source's own, or 1,3,224,224); once "
             "per input",
    )  # fmt: skip


def add_plot_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the file for a picture."""
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help=f"draw {what} into FILE (.png, .svg or .pdf)"
    )


def seed(text: str) -> int:
    """A seed as numpy takes it."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a seed is an integer of at least 0, got {text!r}")
    return int(text)


def at_least_one(text: str) -> int:
    """A number of things, of which there is one or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text!r}")
    return int(text)


def shape(text: str) -> tuple[int, ...]:
    """A shape as it is written on the command line: 1,3,224,224."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"a shape is written like 1,3,224,224, in numbers above 0, got {text!r}"
        )
    return tuple(int(part) for part in parts)


def budgets_of(options: argparse.Namespace) -> tuple[Budget, ...]:
    """The budgets given on the command line; one per cost."""
    budgets = tuple(Budget.parse(text) for text in options.budget)
    names = [b.cost for b in budgets]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"budget {name!r} is given twice")
    return budgets


def network_of(options: argparse.Namespace) -> Path | None:
    """The file that describes the network: the one given, or that of the run folder."""
    beside: Path = Path(options.problem).parent / "network.json"
    given: Path | None = options.network
    if options.device is None:
        if given is not None:
            raise InputError("--network needs --device")
        return None
    return given or (beside if beside.is_file() else None)


def effort_of(options: argparse.Namespace) -> Effort:
    """The effort given on the command line."""
    return Effort(states=options.states, seconds=options.seconds)


def check_plot(path: Path | None) -> None:
    """Refuse a picture that could not be written, before any work is done for it."""
    if path is None:
        return
    from bitwright.plots import suffix_of

    suffix_of(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {str(path.parent)!r}")


def draw(options: argparse.Namespace, figure: Any, path: Path | None = None) -> None:
    """Write the figure into a file, that of `--plot` unless another is given, and say so."""
    from bitwright.plots import save

    path = path or options.plot
    save(figure, path)
    say(options, f"drawn: {path}")


def say(options: argparse.Namespace, message: str) -> None:
    """Write a message to stderr unless `--quiet` was given."""
    if not options.quiet:
        sys.stderr.write(f"{printable(message)}\n")


def say_who_answered(options: argparse.Namespace, first: str, solver: str) -> None:
    """Say that another solver than the `first` one answered, where nobody asked for it."""
    if options.solver is None and solver != first:
        say(options, f"solver {first!r} does not take this problem; {solver!r} answered")


def answer(text: str) -> None:
    """Write an answer to stdout, whole; raises `InputError` where its encoding lacks a character."""
    try:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    except UnicodeEncodeError as error:
        missing = text[error.start : error.start + 1]
        raise InputError(
            f"the output's encoding {error.encoding!r} has no character {missing!a}; "
            "with PYTHONUTF8=1 it is utf-8"
        ) from None
