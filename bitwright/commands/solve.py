"""Find the bits of least loss within the budgets, with a proof or a bound.

Exit status: 0 solved, 2 bad usage or input, 3 infeasible, 4 stopped without an answer.
"""

from __future__ import annotations

import argparse

from bitwright import api
from bitwright.commands.shared import (
    EXIT_STATUS,
    add_solving_arguments,
    answer,
    budgets_of,
    effort_of,
)
from bitwright.problems.formats import dump_json
from bitwright.problems.formats.answers_json import solution_document
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.solution import Solution
from bitwright.text import figure, text_table

EXAMPLES = """examples:
  bitwright solve configs/resnet18_t4.json --budget latency_ms=50%
  bitwright solve table.csv --budget size_bytes=1.5MB --budget latency_us=900 --solver ilp --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_solving_arguments(
        parser,
        "solver by name (default: exact, or ilp where that refuses); `bitwright plugins` lists them",
    )


def run(options: argparse.Namespace) -> int:
    """Solve and print the answer."""
    problem = api.read_problem(options.problem)
    solution = api.solve(
        problem,
        budgets=budgets_of(options),
        solver=options.solver,
        effort=effort_of(options),
        seed=options.seed,
    )
    if options.json:
        answer(dump_json(solution_document(solution)))
    else:
        answer(solution_text(problem, solution))
    return EXIT_STATUS[solution.status]


def solution_text(problem: AllocationProblem, solution: Solution) -> str:
    """The answer as tables: layers with bits, loss and costs; budgets; the certificate."""
    parts = []
    if solution.configuration is not None:
        selection = problem.selection(solution.configuration)
        rows = []
        for name, j in zip(problem.layers, selection.tolist(), strict=True):
            costs = (c.value(j) for c in problem.costs.values())
            cells = (figure(int(v) if v.denominator == 1 else float(v)) for v in costs)
            rows.append([name, problem.precision(j).label, figure(float(problem.loss[j])), *cells])
        totals = [figure(solution.costs[n]) for n in problem.costs]
        rows.append(["total", "", figure(solution.loss), *totals])
        parts.append(text_table(["layer", "bits", "loss", *problem.costs], rows))
    if solution.budgets and solution.costs:
        rows = [
            [n, figure(b), figure(solution.costs[n]), figure(solution.slack[n])]
            for n, b in solution.budgets.items()
        ]
        parts.append(text_table(["budget", "limit", "used", "left"], rows))
    parts.append(_certificate(solution))
    return "\n\n".join(parts)


def _certificate(solution: Solution) -> str:
    if solution.configuration is None:
        explanation = f"\n{solution.explanation}" if solution.explanation else ""
        return f"{solution.status}: {solution.status.meaning}{explanation}"
    bound = f"lower bound {figure(solution.lower_bound)}, gap {figure(solution.gap)}"
    return (
        f"{solution.status}: loss {figure(solution.loss)}, {bound} "
        f"(solver {solution.solver}, {solution.seconds:.3g} s)"
    )
