"""Fronts as the door gives them out: from a solver's own front, or from a sweep of budgets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.budgets import Budget
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.front import ParetoFront, non_dominated
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import FrontProposal
from bitwright.problems.solution import Solution
from bitwright.search.figures import front_figures
from bitwright.search.reach import Reaches

_SWEPT_BUDGETS = 20
_SWEPT_BUDGETS_OF_EACH = 10
_CHOICES_AT_ONCE = 4_000_000


def assembled(
    problem: AllocationProblem,
    solver: str,
    costs: Sequence[str],
    proposal: FrontProposal,
    points: int | None,
) -> ParetoFront:
    """A solver's own front: every point that is given out is recomputed from its selection."""
    chosen, left_out = np.arange(len(proposal.losses)), 0.0
    if points is not None:
        chosen, left_out = _spread(problem, solver, costs, proposal, points)
    size = max(_CHOICES_AT_ONCE // len(problem), 1)
    parts = [chosen[k : k + size] for k in range(0, len(chosen), size)]
    found = [front_figures(problem, solver, proposal.selections(p), costs) for p in parts]
    values = np.concatenate([v for v, _ in found])
    losses = np.concatenate([loss for _, loss in found])
    kept = non_dominated(values, losses)
    configurations: list[BitConfiguration | None] = []
    if points is not None:
        selections = proposal.selections(chosen[kept])
        configurations = [problem.configuration(s) for s in selections]
    return ParetoFront(
        problem=problem.name,
        solver=solver,
        costs=tuple(costs),
        cost_values=values[kept],
        losses=losses[kept],
        exact=proposal.exact and left_out == 0,
        epsilon=None if proposal.epsilon is None else proposal.epsilon + left_out,
        configurations=tuple(configurations),
    )


def sweep(
    problem: AllocationProblem, costs: Sequence[str], reaches: Reaches, points: int | None
) -> list[list[Budget]]:
    """Sets of budgets, one per cost: a grid over their ranges, up to the budgets that they have."""
    each = _SWEPT_BUDGETS if len(costs) == 1 else _SWEPT_BUDGETS_OF_EACH
    steps = math.ceil(points ** (1 / len(costs))) if points else each
    shares = [Fraction(k, max(steps - 1, 1)) for k in range(steps)]
    axes = []
    for cost in costs:
        reach = reaches[cost]
        width = min(reach.largest, problem.budgets.get(cost, reach.largest)) - reach.least
        axes.append([Budget(cost, amount=reach.least + share * width) for share in shares])
    return [list(budgets) for budgets in itertools.product(*axes)]


def swept(
    problem: AllocationProblem,
    solver: str,
    costs: Sequence[str],
    solutions: Iterable[Solution],
    points: int | None,
) -> ParetoFront:
    """The non-dominated of some solutions; nothing is proved about what lies between them."""
    found = [s for s in solutions if s.configuration is not None]
    values = np.array([[s.costs[name] for name in costs] for s in found])
    values = values.reshape(len(found), len(costs))
    losses = np.array([s.loss for s in found])
    kept = non_dominated(values, losses)
    if points is not None and len(kept) > points:
        whole = ParetoFront(
            problem.name,
            solver,
            tuple(costs),
            values[kept],
            losses[kept],
            exact=False,
            epsilon=None,
        )
        kept = kept[whole.spread(points)]
    return ParetoFront(
        problem=problem.name,
        solver=solver,
        costs=tuple(costs),
        cost_values=values[kept],
        losses=losses[kept],
        exact=False,
        epsilon=None,
        configurations=tuple(found[i].configuration for i in kept) if points else (),
    )


def _spread(
    problem: AllocationProblem,
    solver: str,
    costs: Sequence[str],
    proposal: FrontProposal,
    points: int,
) -> tuple[NDArray[np.int64], float]:
    """Indices of points spread over the front, and the epsilon of leaving out the others.

    Both rest on what the solver believes of its points. A point left out is matched by the last
    one before it that was chosen.
    """
    believed, losses = proposal.cost_values, proposal.losses
    kept = non_dominated(believed, losses)
    front = ParetoFront(
        problem.name, solver, tuple(costs), believed[kept], losses[kept], exact=False, epsilon=None
    )
    chosen = front.spread(points)
    before_next = np.append(chosen[1:], len(front)) - 1
    drop = float((front.losses[chosen] - front.losses[before_next]).max())
    span = float(np.ptp(front.losses))
    return kept[chosen], drop / span if span else 0.0
