"""Set the answers of several solvers to one problem side by side.

Exit status: 0 if any solver answered, 2 bad usage or input or no solver takes the problem,
3 infeasible, 4 all stopped without an answer.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from bitwright import api
from bitwright.commands.shared import (
    EXIT_STATUS,
    add_plot_argument,
    add_solving_arguments,
    answer,
    budgets_of,
    check_plot,
    draw,
    effort_of,
    say,
)
from bitwright.commands.solution_text import relative_text
from bitwright.comparison import Comparison, Entry
from bitwright.problems.errors import InputError
from bitwright.problems.formats import dump_json
from bitwright.problems.formats.answers_json import solution_document
from bitwright.problems.solution import Solution
from bitwright.text import duration, figure, terminal_width, text_table, wrapped

EXAMPLES = """examples:
  bitwright compare configs/resnet18_t4.json --budget latency_ms=50%
  bitwright compare configs/resnet18_t4.json --budget latency_ms=50% --budget size_bits=60% \\
      --solvers exact,ilp,ilp:pulp_solver=HiGHS --repeat 5 --plot solvers.svg
"""

_FORMAT = "bitwright-comparison/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_solving_arguments(parser)
    parser.add_argument(
        "--solvers", type=_names, metavar="NAME[:OPTION=VALUE...],...",
        help="solvers by name, with their options behind colons (default: all that are installed "
             "and need no network)",
    )  # fmt: skip
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N",
        help="take the median time of N runs after one to warm up (default 1: the first run)",
    )  # fmt: skip
    add_plot_argument(parser, "losses, bounds and times")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"solvers are names with commas between, got {text!r}")
    return names


def run(options: argparse.Namespace) -> int:
    """Ask every solver, print what they say, and draw it if asked."""
    check_plot(options.plot)
    comparison = api.compare(
        api.read_problem(options.problem),
        solvers=options.solvers,
        budgets=budgets_of(options),
        effort=effort_of(options),
        seed=options.seed,
        repeat=options.repeat,
        started=lambda name: _say_begun(options, name),
    )
    if not comparison.solutions:
        reasons = "; ".join(str(entry.reason) for entry in comparison.entries)
        raise InputError(f"no solver answers this problem: {reasons}")
    if options.plot:
        from bitwright.comparison_plot import draw_comparison

        draw(options, draw_comparison(comparison))
    if options.json:
        answer(dump_json(comparison_document(comparison)))
    else:
        answer(comparison_text(comparison, options.repeat))
    return EXIT_STATUS[comparison.status]


def _say_begun(options: argparse.Namespace, solver: str) -> None:
    if sys.stderr.isatty():
        say(options, f"{solver} ...")


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """The document of a comparison; solutions are those of `solve`, without bits."""
    return {
        "format": _FORMAT,
        "problem": comparison.problem,
        "status": comparison.status.value,
        "loss": _finite(comparison.loss),
        "lower_bound": _finite(comparison.lower_bound),
        "budgets": dict(comparison.budgets),
        "solutions": [
            _solution_entry(entry, entry.solution, comparison)
            for entry in comparison.entries
            if entry.solution is not None
        ],
        "without_solution": [
            {"solver": entry.solver, "outcome": entry.outcome, "reason": entry.reason}
            for entry in comparison.entries
            if entry.solution is None
        ],
        "contradictions": list(comparison.contradictions()),
    }


def _solution_entry(entry: Entry, solution: Solution, comparison: Comparison) -> dict[str, Any]:
    document = solution_document(solution)
    kept = {k: v for k, v in document.items() if k not in ("format", "problem", "bits")}
    above = None if solution.configuration is None else solution.loss - comparison.loss
    return {**kept, "solver": entry.solver, "above_best": above, "runs": list(entry.seconds)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def comparison_text(comparison: Comparison, repeat: int) -> str:
    """What every solver proves, what its answer costs, and why some gave none."""
    parts = [_certificates(comparison)]
    if any(s.costs for s in comparison.solutions):
        parts.append(_costs(comparison))
    said: dict[tuple[str, str], list[str]] = {}
    for entry in comparison.entries:
        if why := entry.reason if entry.solution is None else entry.solution.explanation:
            said.setdefault((entry.word, why), []).append(entry.solver)
    notes = [f"{', '.join(names)} ({word}): {why}" for (word, why), names in said.items()]
    notes += [f"contradiction: {claim}" for claim in comparison.contradictions()]
    if repeat > 1:
        notes.append(f"time: median of {repeat} runs of each solver after one to warm up")
    else:
        notes.append("time: one run, loading the solver included; --repeat N takes a median")
    return "\n\n".join([*parts, "\n".join(wrapped(note) for note in notes)])


def _certificates(comparison: Comparison) -> str:
    rows = []
    for entry in comparison.entries:
        row = [entry.solver, entry.word]
        if entry.solution is None:
            rows.append([*row, *[""] * 6])
            continue
        solution = entry.solution
        above = solution.loss - comparison.loss if solution.configuration else math.inf
        gap = relative_text(solution.relative_gap) if math.isfinite(solution.gap) else ""
        figures = [solution.loss, above, solution.lower_bound, solution.gap]
        rows.append([*row, *map(_known, figures), gap, duration(solution.seconds)])
    head = ["solver", "status", "loss", "above best", "lower bound", "gap", "relative", "time"]
    return text_table(head, rows, terminal_width())


def _costs(comparison: Comparison) -> str:
    """What every answer costs, and behind a cost with a budget what is left of it."""
    answered = [
        (e.solver, e.solution) for e in comparison.entries if e.solution and e.solution.costs
    ]
    head, limits = ["costs"], ["budget"]
    rows = [[solver] for solver, _ in answered]
    for name in answered[0][1].costs:
        limit = comparison.budgets.get(name)
        head += [name] if limit is None else [name, "left"]
        limits += [""] if limit is None else [figure(limit), ""]
        for row, (_, solution) in zip(rows, answered, strict=True):
            row.append(figure(solution.costs[name]))
            if limit is not None:
                row.append(figure(solution.slack[name]))
    return text_table(head, [limits, *rows] if comparison.budgets else rows, terminal_width())


def _known(value: float) -> str:
    return figure(value) if math.isfinite(value) else ""
