"""The figures of many selections at once, recomputed from the problem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.exact import plain
from bitwright.problems.problem import AllocationProblem
from bitwright.search.judgement import evaluated
from bitwright.search.reduction import Integers, precision_keys

_EXACT_IN_FLOAT = 2**53


def front_figures(
    problem: AllocationProblem, solver: str, selections: NDArray[np.int64], costs: Sequence[str]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Costs (P, K) and losses (P,) of selections (P, N), each within range, budgets and ties.

    Raises `UntrueAnswerError` for one that is not.
    """
    named = {*costs, *problem.budgets}
    if problem.interactions or any(peak.cost in named for peak in problem.peaks):
        return _one_by_one(problem, solver, selections, costs)
    for line in _outside(problem, selections)[:1]:
        evaluated(problem, solver, selections[line])
    for line in _broken(problem, selections)[:1]:
        evaluated(problem, solver, selections[line])
    losses = [math.fsum(line) for line in problem.loss[selections].tolist()]
    values = [_totals(problem, selections, name) for name in costs]
    return np.stack(values, axis=1), np.array(losses)


def _one_by_one(
    problem: AllocationProblem, solver: str, selections: NDArray[np.int64], costs: Sequence[str]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    found = [evaluated(problem, solver, selection) for selection in selections]
    values = np.array([[plain(e.costs[name]) for name in costs] for e in found])
    if values.dtype == object:
        values = values.astype(np.float64)
    return values.reshape(len(found), len(costs)), np.array([e.loss for e in found])


def _outside(problem: AllocationProblem, selections: NDArray[np.int64]) -> NDArray[np.int64]:
    """The lines of the selections that take a choice their layer does not have."""
    starts, stops = problem.choice_start[:-1], problem.choice_start[1:]
    return np.flatnonzero(((selections < starts) | (selections >= stops)).any(axis=1))


def _broken(problem: AllocationProblem, selections: NDArray[np.int64]) -> NDArray[np.int64]:
    """The lines of the selections that break a budget or a tie."""
    broken = [np.empty(0, dtype=np.int64)]
    for name, limit in problem.budgets.items():
        column = problem.costs[name]
        room = column.in_units(limit - problem.fixed_costs.get(name, 0))
        broken.append(np.flatnonzero(column.units[selections].sum(axis=1) > room))
    keys = {
        "all": precision_keys(problem),
        "weight": problem.weight_bits,
        "activation": problem.activation_bits,
    }
    for tie in problem.ties:
        chosen = keys[tie.side][selections[:, [problem.index[name] for name in tie.layers]]]
        broken.append(np.flatnonzero((chosen != chosen[:, :1]).any(axis=1)))
    return np.concatenate(broken)


def _totals(problem: AllocationProblem, selections: NDArray[np.int64], cost: str) -> NDArray[Any]:
    """Totals of one cost, shape (P,): integers where the cost has no decimals, else floats."""
    column = problem.costs[cost]
    units: Integers = column.units[selections].sum(axis=1)
    fixed = problem.fixed_costs.get(cost, Fraction(0)) * 10**column.digits
    if units.dtype == np.int64 and fixed.denominator == 1:
        largest = int(units.max(initial=0)) + fixed.numerator
        if largest < _EXACT_IN_FLOAT:
            units = units + fixed.numerator
            return units if column.digits == 0 else units / np.float64(10**column.digits)
    totals = np.array([plain((u + fixed) / 10**column.digits) for u in units.tolist()])
    return totals.astype(np.float64) if totals.dtype == object else totals
