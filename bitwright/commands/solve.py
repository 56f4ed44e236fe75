"""Find the bits of least loss within the budgets, with a proof or a bound.

Exit status: 0 solved, 2 bad usage or input, 3 infeasible, 4 stopped without an answer.
"""

from __future__ import annotations

import argparse

from bitwright import api
from bitwright.commands.shared import (
    EXIT_STATUS,
    add_device_arguments,
    add_solver_argument,
    add_solving_arguments,
    answer,
    budgets_of,
    effort_of,
    network_of,
    say_who_answered,
    say_whose_costs,
)
from bitwright.commands.solution_text import solution_text
from bitwright.problems.formats import dump_json
from bitwright.problems.formats.answers_json import solution_document

EXAMPLES = """examples:
  bitwright solve configs/resnet18_t4.json --budget latency_ms=50%
  bitwright solve configs/resnet18_t4.json --budget size_bits=7MB --solver ilp:pulp_solver=HiGHS
  bitwright solve table.csv --budget size_bytes=1.5MB --budget latency_us=900 --json
  bitwright solve runs/digits/problem.json --device cortex_m7_cmsis_nn --budget size_bits=50%
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_solving_arguments(parser)
    add_device_arguments(parser)
    add_solver_argument(
        parser, f"default: {api.DEFAULT_SOLVERS[0]}, or the next that takes the problem"
    )
    parser.add_argument(
        "--all", action="store_true", help="print every layer, however many there are"
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
        device=options.device,
        network=network_of(options),
    )
    say_whose_costs(options)
    say_who_answered(options, api.DEFAULT_SOLVERS[0], solution.solver)
    if options.json:
        answer(dump_json(solution_document(solution)))
    else:
        answer(solution_text(problem, solution, every_layer=options.all))
    return EXIT_STATUS[solution.status]
