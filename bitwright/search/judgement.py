"""Answers are recomputed and judged here; nothing that a solver claims is copied."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import UntrueAnswerError
from bitwright.problems.exact import plain
from bitwright.problems.problem import AllocationProblem, Evaluation
from bitwright.problems.protocols import Proposal, Solver
from bitwright.problems.solution import Solution, Status
from bitwright.problems.version import __version__

_ROUNDING = 1e-12


def judged(problem: AllocationProblem, solver: Solver, proposal: Proposal, seed: int) -> Solution:
    """The solution that a proposal amounts to under the problem's budgets.

    It is optimal where an exact solver says that its search is complete and gives no bound, or one
    that meets the recomputed loss within rounding. Raises `UntrueAnswerError` for what is not true.
    """
    if math.isnan(proposal.lower_bound):
        raise UntrueAnswerError(f"solver {solver.name!r} gave NaN as its lower bound")
    if proposal.selection is None:
        return without_answer(problem, solver, proposal, seed)
    selection = np.asarray(proposal.selection)
    evaluation = evaluated(problem, solver.name, selection)
    loss, bound = evaluation.loss, proposal.lower_bound
    rounding = 0.0 if bound == loss else _ROUNDING * _magnitude(problem, selection)
    if bound > loss + rounding:
        raise UntrueAnswerError(
            f"solver {solver.name!r} claims that no loss is below {bound:.12g}, but its own answer "
            f"has {loss:.12g}"
        )
    proved = solver.traits.exact and proposal.complete
    optimal = proved and bound >= loss - rounding
    limits = problem.budgets
    return Solution(
        problem=problem.name,
        solver=solver.name,
        status=Status.OPTIMAL if optimal else Status.FEASIBLE,
        configuration=problem.configuration(selection),
        loss=loss,
        lower_bound=loss if optimal else min(bound, loss),
        costs={name: plain(cost) for name, cost in evaluation.costs.items()},
        budgets={name: plain(limit) for name, limit in limits.items()},
        slack={name: plain(limit - evaluation.costs[name]) for name, limit in limits.items()},
        explanation=proposal.explanation,
        seed=seed,
        version=__version__,
    )


def without_answer(
    problem: AllocationProblem, solver: Solver, proposal: Proposal, seed: int
) -> Solution:
    """The solution without a configuration: infeasible where that is proved, else stopped."""
    infeasible = solver.traits.exact and proposal.complete
    return Solution(
        problem=problem.name,
        solver=solver.name,
        status=Status.INFEASIBLE if infeasible else Status.STOPPED,
        configuration=None,
        loss=math.inf,
        lower_bound=-math.inf if infeasible else proposal.lower_bound,
        budgets={name: plain(limit) for name, limit in problem.budgets.items()},
        explanation=proposal.explanation,
        seed=seed,
        version=__version__,
    )


def evaluated(problem: AllocationProblem, solver: str, selection: NDArray[np.int64]) -> Evaluation:
    """Loss and exact costs of a selection that respects every budget and tie, or an error."""
    starts, stops = problem.choice_start[:-1], problem.choice_start[1:]
    if selection.shape != starts.shape or selection.dtype.kind not in "iu":
        raise UntrueAnswerError(
            f"solver {solver!r} must propose one choice index for each of the {len(starts)} layers, "
            f"got {selection.dtype} of shape {selection.shape}"
        )
    outside = np.flatnonzero((selection < starts) | (selection >= stops))
    if len(outside):
        layer = problem.layers[outside[0]]
        raise UntrueAnswerError(
            f"solver {solver!r} proposed choice {selection[outside[0]]} for layer {layer!r}, "
            f"which has choices {starts[outside[0]]} to {stops[outside[0]] - 1}"
        )
    if broken := problem.broken_ties(selection):
        raise UntrueAnswerError(
            f"solver {solver!r} broke the tie of {list(broken[0].layers)} (side {broken[0].side!r})"
        )
    evaluation = problem.evaluate(selection)
    for name, excess in evaluation.over_budget(problem.budgets).items():
        raise UntrueAnswerError(over_budget(solver, name, problem.budgets[name], excess))
    return evaluation


def over_budget(solver: str, cost: str, limit: Fraction, excess: Fraction) -> str:
    """The message for an answer that breaks a budget."""
    return (
        f"solver {solver!r} broke budget {cost!r}: {plain(limit + excess):,} is "
        f"{plain(excess):,} over {plain(limit):,}"
    )


def _magnitude(problem: AllocationProblem, selection: NDArray[np.int64]) -> float:
    """Sum of the sizes of what a solver may have added up on the way to this loss."""
    least = np.minimum.reduceat(problem.loss, problem.choice_start[:-1])
    sizes = np.maximum(np.abs(problem.loss[selection]), np.abs(least))
    pairs = (max(abs(v) for row in t.loss for v in row) for t in problem.interactions)
    return float(sizes.sum()) + math.fsum(pairs)
