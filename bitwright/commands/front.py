"""Find the Pareto front of loss against one or more costs.

Exit status: 0 done, 2 bad usage or input, 3 infeasible, 4 stopped without a point.
"""

from __future__ import annotations

import argparse
import csv
import io

from bitwright import api
from bitwright.commands.shared import (
    EXIT_STATUS,
    add_device_arguments,
    add_plot_argument,
    add_solver_argument,
    add_solving_arguments,
    answer,
    budgets_of,
    check_plot,
    draw,
    effort_of,
    network_of,
    say,
    say_who_answered,
    say_whose_costs,
)
from bitwright.problems.errors import InputError
from bitwright.problems.formats import dump_json
from bitwright.problems.formats.answers_json import front_document
from bitwright.problems.front import FrontPoint, ParetoFront
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.solution import Status
from bitwright.text import figure, terminal_width, text_table, wrapped

EXAMPLES = """examples:
  bitwright front configs/resnet18_t4.json --cost size_bits
  bitwright front configs/resnet18_t4.json --cost latency_ms --points 8 --plot front.svg
  bitwright front configs/resnet18_t4.json --cost latency_ms --cost size_bits --csv
"""

_SHOWN = 25
_DRAWN = 10
_MOST_LAYERS = 5_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_solving_arguments(parser)
    add_device_arguments(parser)
    add_solver_argument(
        parser,
        f"default: {api.DEFAULT_FRONT_SOLVERS[0]}, or the next that takes the problem; one without "
        "a front of its own sweeps budgets",
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
    add_plot_argument(parser, "the front, and the bits of its chosen points,")


def run(options: argparse.Namespace) -> int:
    """Find the front, draw it if asked, and print it."""
    if options.json and options.csv:
        raise InputError("--json and --csv cannot be given together")
    check_plot(options.plot)
    problem = api.read_problem(options.problem)
    front = _front(options, problem, options.points)
    say_whose_costs(options)
    say_who_answered(options, api.DEFAULT_FRONT_SOLVERS[0], front.solver)
    if options.plot:
        from bitwright.plots import draw_front

        whole, chosen = _to_draw(options, problem, front)
        draw(options, draw_front(whole, chosen=chosen))
    if options.json:
        answer(dump_json(front_document(front)))
    elif options.csv:
        answer(front_csv(front))
    else:
        answer(front_text(front))
    return 0 if len(front) else _say_why_empty(options, problem, front.solver)


def _front(
    options: argparse.Namespace, problem: AllocationProblem, points: int | None
) -> ParetoFront:
    return api.front(
        problem,
        costs=options.cost,
        solver=options.solver,
        points=points,
        budgets=budgets_of(options),
        epsilon=options.epsilon,
        effort=effort_of(options),
        seed=options.seed,
        device=options.device,
        network=network_of(options),
    )


def _to_draw(
    options: argparse.Namespace, problem: AllocationProblem, front: ParetoFront
) -> tuple[ParetoFront, ParetoFront]:
    """All points of the front, and some with their bits: a front has one or the other."""
    if options.points is None:
        return front, _front(options, problem, _DRAWN)
    # Every point is worked out exactly, which takes long for many points of many layers.
    whole = front if len(problem) > _MOST_LAYERS else _front(options, problem, None)
    return whole, front


def _say_why_empty(options: argparse.Namespace, problem: AllocationProblem, solver: str) -> int:
    """Ask the solver for one answer: it says whether budgets are infeasible or it had to stop."""
    solution = api.solve(
        problem,
        budgets=budgets_of(options),
        solver=options.solver or solver,
        effort=effort_of(options),
        seed=options.seed,
        device=options.device,
        network=network_of(options),
    )
    say(options, solution.explanation or solution.status.meaning)
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
    """The points as a table, at most a screenful of them, the knee, and what is proved."""
    if not len(front):
        return "no points"
    shown = front.spread(_SHOWN)
    rows = [_row(front[i]) for i in shown]
    count = f"{len(front):,} point" + ("s" if len(front) > 1 else "")
    if len(shown) < len(front):
        count += f", {len(shown)} of them shown (--csv prints all)"
    if any(point.configuration is not None for point in front):
        count += "; --json and --csv print their bits"
    notes = [f"{count}; {_kind(front)} (solver {front.solver})"]
    # Some chosen points have another knee than the front that they were taken from.
    if not front.configurations and (knee := front.knee()) is not None:
        # In full, so that it can be handed to `solve` as a budget.
        (name, cost), loss = next(iter(front[knee].costs.items())), figure(front[knee].loss)
        notes.append(f"knee (farthest from the chord between the ends): {name} {cost}, loss {loss}")
    if front.device:
        notes.append(f"choices that device {front.device} can store")
    table = text_table([*front.costs, "loss"], rows, terminal_width())
    return "\n\n".join([table, "\n".join(map(wrapped, notes))])


def _row(point: FrontPoint) -> list[str]:
    return [*(figure(value) for value in point.costs.values()), figure(point.loss)]


def _kind(front: ParetoFront) -> str:
    if front.exact:
        return "the exact front"
    if front.epsilon is None:
        return "found by a sweep of budgets; between them there may be more"
    return f"within epsilon {front.epsilon:.3g} of the exact front"
