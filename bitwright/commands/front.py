"""Find the Pareto front of loss against one or more costs.

Exit status: 0 done, 2 bad usage or input, 3 infeasible, 4 stopped without a point.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from bitwright import api
from bitwright.commands.shared import (
    EXIT_STATUS,
    add_solving_arguments,
    answer,
    budgets_of,
    effort_of,
    say,
)
from bitwright.problems.errors import InputError
from bitwright.problems.formats import dump_json
from bitwright.problems.formats.answers_json import front_document
from bitwright.problems.front import ParetoFront
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.solution import Status
from bitwright.text import figure, text_table

EXAMPLES = """examples:
  bitwright front configs/resnet18_t4.json --cost size_bits
  bitwright front configs/resnet18_t4.json --cost latency_ms --points 20 --plot front.svg
"""

_SHOWN = 25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_solving_arguments(
        parser,
        "solver by name (default: front, or ilp where that refuses); "
        "one without a front of its own sweeps budgets",
    )
    parser.add_argument(
        "--cost",
        action="append",
        required=True,
        metavar="NAME",
        help="cost against which the loss is drawn; may be given twice",
    )
    parser.add_argument(
        "--points",
        type=int,
        metavar="N",
        help="only N points spread over the front, with their bits",
    )
    parser.add_argument(
        "--epsilon",
        type=float,
        default=0.0,
        metavar="E",
        help="allowed error, as a share of the front's range of loss (default 0: exact)",
    )
    parser.add_argument("--csv", action="store_true", help="print the points as CSV")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the front into FILE (.png, .svg or .pdf)"
    )


def run(options: argparse.Namespace) -> int:
    """Find the front, draw it if asked, and print it."""
    if options.json and options.csv:
        raise InputError("--json and --csv cannot be given together")
    if options.plot:
        from bitwright.plots import draw_front, save, suffix_of

        suffix_of(options.plot)  # refuses an unknown ending before the work
        if not options.plot.parent.is_dir():
            raise InputError(f"{options.plot}: there is no folder {str(options.plot.parent)!r}")
    problem = api.read_problem(options.problem)
    front = api.front(
        problem,
        costs=options.cost,
        solver=options.solver,
        points=options.points,
        budgets=budgets_of(options),
        epsilon=options.epsilon,
        effort=effort_of(options),
        seed=options.seed,
    )
    if options.plot:
        save(draw_front(front), options.plot)
        say(options, f"drawn: {options.plot}")
    if options.json:
        answer(dump_json(front_document(front)))
    elif options.csv:
        answer(front_csv(front))
    else:
        answer(front_text(front))
    return 0 if len(front) else _say_why_empty(options, problem, front.solver)


def _say_why_empty(options: argparse.Namespace, problem: AllocationProblem, solver: str) -> int:
    """Ask the solver for one answer: it says whether budgets are infeasible or it had to stop."""
    solution = api.solve(
        problem,
        budgets=budgets_of(options),
        solver=solver,
        effort=effort_of(options),
        seed=options.seed,
    )
    say(options, solution.explanation or f"{solution.status}: {solution.status.meaning}")
    return EXIT_STATUS[solution.status] or EXIT_STATUS[Status.STOPPED]


def front_csv(front: ParetoFront) -> str:
    """The points as CSV: costs, loss, and one column per layer where bits are known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    layers = list(front[0].configuration or ()) if len(front) else []
    writer.writerow([*front.costs, "loss", *layers])
    for point in front:
        bits = [p.label for p in (point.configuration or {}).values()]
        writer.writerow([*point.costs.values(), point.loss, *bits])
    return out.getvalue()


def front_text(front: ParetoFront) -> str:
    """The points as a table, at most a screenful of them."""
    if not len(front):
        return "no points"
    shown = front.spread(_SHOWN)
    rows = [[*(figure(v) for v in front[i].costs.values()), figure(front[i].loss)] for i in shown]
    count = f"{len(front):,} points" + (
        f", {len(shown)} of them shown" if len(shown) < len(front) else ""
    )
    if front.exact:
        kind = "the exact front"
    elif front.epsilon is None:
        kind = "found by a sweep of budgets; between them there may be more"
    else:
        kind = f"within epsilon {front.epsilon:g} of the exact front"
    return f"{text_table([*front.costs, 'loss'], rows)}\n\n{count}; {kind} (solver {front.solver})"
