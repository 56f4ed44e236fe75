"""The figures of many selections at once, recomputed from the problem."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.problems.exact import plain
from bitwright.problems.problem import AllocationProblem
from bitwright.search.judgement import evaluated
from bitwright.search.kernels import accelerated
from bitwright.search.reduction import Integers, precision_keys

_EXACT_IN_FLOAT = 2**53


def front_figures(
    problem: AllocationProblem, solver: str, selections: NDArray[np.int64], costs: Sequence[str]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Costs (P, K) and losses (P,) of selections (P, N), each within range, budgets and ties.

    Raises `UntrueAnswerError` for one that is not. Quickest where the selections of a layer lie side
    by side in memory.
    """
    named = {*costs, *problem.budgets}
    if problem.interactions or any(peak.cost in named for peak in problem.peaks):
        return _one_by_one(problem, solver, selections, costs)
    for line in _outside(problem, selections)[:1]:
        evaluated(problem, solver, selections[line])
    choices = np.ascontiguousarray(selections.T)
    units = {name: added(choices, problem.costs[name].units) for name in named}
    for line in _broken(problem, selections, units)[:1]:
        evaluated(problem, solver, selections[line])
    values = [_totals(problem, name, units[name]) for name in costs]
    return np.stack(values, axis=1), _losses(problem, choices)


def figures_array(values: ArrayLike, columns: int) -> NDArray[Any]:
    """Figures of shape (P, columns): int64 where all are such integers, else float64."""
    array = np.array(values)
    if array.dtype.kind not in "iu":
        array = array.astype(np.float64)
    return array.reshape(-1, columns)


def _one_by_one(
    problem: AllocationProblem, solver: str, selections: NDArray[np.int64], costs: Sequence[str]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    found = [evaluated(problem, solver, selection) for selection in selections]
    values = [[plain(e.costs[name]) for name in costs] for e in found]
    return figures_array(values, len(costs)), np.array([e.loss for e in found])


def _outside(problem: AllocationProblem, selections: NDArray[np.int64]) -> NDArray[np.int64]:
    """The lines of the selections that take a choice their layer does not have."""
    starts, stops = problem.choice_start[:-1], problem.choice_start[1:]
    wrong = (selections.min(axis=0, initial=stops[-1]) < starts) | (
        selections.max(axis=0, initial=-1) >= stops
    )
    if not wrong.any():
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(((selections < starts) | (selections >= stops)).any(axis=1))


def _broken(
    problem: AllocationProblem, selections: NDArray[np.int64], units: Mapping[str, Integers]
) -> NDArray[np.int64]:
    """The lines of the selections that break a budget or a tie."""
    broken = [np.empty(0, dtype=np.int64)]
    for name, limit in problem.budgets.items():
        room = problem.costs[name].in_units(limit - problem.fixed_costs.get(name, 0))
        broken.append(np.flatnonzero(units[name] > room))
    if problem.ties:
        keys = {
            "all": precision_keys(problem),
            "weight": problem.weight_bits,
            "activation": problem.activation_bits,
        }
    for tie in problem.ties:
        chosen = keys[tie.side][selections[:, [problem.index[name] for name in tie.layers]]]
        broken.append(np.flatnonzero((chosen != chosen[:, :1]).any(axis=1)))
    return np.concatenate(broken)


def _totals(problem: AllocationProblem, cost: str, units: Integers) -> NDArray[Any]:
    """Totals of one cost, shape (P,): integers where the cost has no decimals, else floats."""
    column = problem.costs[cost]
    fixed = problem.fixed_costs.get(cost, Fraction(0)) * 10**column.digits
    if units.dtype == np.int64 and fixed.denominator == 1:
        largest = int(units.max(initial=0)) + fixed.numerator
        if largest < _EXACT_IN_FLOAT:
            units = units + fixed.numerator
            return units if column.digits == 0 else units / np.float64(10**column.digits)
    totals = np.array([plain((u + fixed) / 10**column.digits) for u in units.tolist()])
    return totals.astype(np.float64) if totals.dtype == object else totals


def _losses(problem: AllocationProblem, choices: NDArray[np.int64]) -> NDArray[np.float64]:
    """The losses of selections (N, P) as `math.fsum` adds them, shape (P,).

    Sums with a second float for what is rounded away are right to within far less than a float
    tells; where even that leaves the last bit open, `math.fsum` decides.
    """
    total, rest = compensated(choices, problem.loss)
    largest = float(np.maximum.reduceat(np.abs(problem.loss), problem.choice_start[:-1]).sum())
    error = 2.0**-104 * len(problem) ** 2 * largest
    losses = total + (rest - error)
    for point in np.flatnonzero(losses != total + (rest + error)):
        losses[point] = math.fsum(problem.loss[choices[:, point]].tolist())
    return losses


@accelerated()
def compensated(
    choices: NDArray[np.int64], loss: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of the losses of selections (N, P), and what was rounded away on the way, both (P,).

    .. [Knu1997] Knuth: The art of computer programming, volume 2, section 4.2.2: the exact error of
       an addition. Addison-Wesley, 3rd edition, 1997.
    """
    total, rest = np.zeros(choices.shape[1]), np.zeros(choices.shape[1])
    for chosen in choices:
        more = loss[chosen]
        after = total + more
        taken = after - total
        rest += (total - (after - taken)) + (more - taken)
        total = after
    return total, rest


@accelerated(1)
def added(choices: NDArray[np.int64], units: Integers) -> Integers:
    """Sums of the units of selections (N, P), shape (P,)."""
    total = np.zeros(choices.shape[1], dtype=units.dtype)
    for chosen in choices:
        total += units[chosen]
    return total
