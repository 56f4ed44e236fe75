"""Fronts as the door gives them out: from a solver's own front, or from a sweep of budgets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.budgets import Budget
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.front import ParetoFront, non_dominated
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import FrontProposal
from bitwright.problems.solution import Solution
from bitwright.search.figures import figures_array, front_figures
from bitwright.search.reach import Reaches

_SWEPT_BUDGETS = 20
_SWEPT_BUDGETS_OF_EACH = 10
_CHOICES_AT_ONCE = 2**18


def assembled(
    problem: AllocationProblem,
    solver: str,
    costs: Sequence[str],
    proposal: FrontProposal,
    points: int | None,
) -> ParetoFront:
    """A solver's own front: every point that is given out is recomputed from its selection.

    Points are chosen by what the solver believes of them. One left out is matched by the best of the
    chosen ones that cost no more; where there is none, no epsilon is stated.
    """
    chosen, left_out, whole = np.arange(len(proposal.losses)), 0.0, True
    if points is not None:
        chosen, left_out = _spread(proposal.cost_values, proposal.losses, points)
        whole = len(chosen) == len(non_dominated(proposal.cost_values, proposal.losses))
    size = max(_CHOICES_AT_ONCE // len(problem), 1)
    parts = [chosen[k : k + size] for k in range(0, max(len(chosen), 1), size)]
    found = [front_figures(problem, solver, proposal.selections(p), costs) for p in parts]
    values = np.concatenate([v for v, _ in found])
    losses = np.concatenate([loss for _, loss in found])
    kept = non_dominated(values, losses)
    configurations: tuple[BitConfiguration, ...] = ()
    if points is not None:
        selections = proposal.selections(chosen[kept])
        configurations = tuple(problem.configuration(s) for s in selections)
    stated = proposal.epsilon is not None and math.isfinite(left_out)
    epsilon = (proposal.epsilon or 0.0) + left_out if stated else None
    return ParetoFront(
        problem.name, solver, tuple(costs), values[kept], losses[kept],
        proposal.exact and whole, epsilon, configurations,
    )  # fmt: skip


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
    found = [(s, s.configuration) for s in solutions if s.configuration is not None]
    values = figures_array([[s.costs[name] for name in costs] for s, _ in found], len(costs))
    losses = np.array([s.loss for s, _ in found])
    kept = non_dominated(values, losses) if points is None else _spread(values, losses, points)[0]
    configurations = tuple(found[i][1] for i in kept) if points else ()
    return ParetoFront(
        problem.name, solver, tuple(costs), values[kept], losses[kept], False, None, configurations
    )


def _spread(
    values: NDArray[Any], losses: NDArray[np.float64], points: int
) -> tuple[NDArray[np.int64], float]:
    """Indices of points spread over the non-dominated ones, and the epsilon of leaving out others."""
    kept = non_dominated(values, losses)
    if not len(kept):
        return kept, 0.0
    names = tuple(str(k) for k in range(values.shape[1]))
    front = ParetoFront("", "", names, values[kept], losses[kept], exact=False, epsilon=None)
    chosen = front.spread(points)
    if values.shape[1] == 1:
        matched = np.repeat(front.losses[chosen], np.diff(np.append(chosen, len(front))))
    else:
        no_dearer = (front.cost_values[chosen] <= front.cost_values[:, None]).all(axis=2)
        matched = np.where(no_dearer, front.losses[chosen], np.inf).min(axis=1)
    drop = float((matched - front.losses).max())
    span = float(np.ptp(front.losses))
    return kept[chosen], drop / span if span else drop  # without a span 0 or infinite
