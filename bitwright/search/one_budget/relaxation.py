"""The Lagrangian relaxation of one budget: a multiplier, the answer it leads to, what it proves.

.. [HZ1980] Handler, Zang: A dual algorithm for the constrained shortest path problem. Networks
   10(4), 1980: the search for the multiplier by the slope between two known answers.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitwright.search.kernels import accelerated
from bitwright.search.one_budget.lists import exact_units
from bitwright.search.reduction import Groups, Integers

ROUNDING = 2.0**-48
"""Bound on the relative error of a handful of float64 operations, generously."""

_MOST_UNITS = 2**62


class Relaxation(NamedTuple):
    """One multiplier u, in loss per unit of cost, and a selection within the budget.

    `picked` (G,) are rows of the groups. With L(row) = loss + u * cost, `penalty` (M,) is by how much
    L exceeds that of the group's picked row, 0 where it is below and infinite for rows that do not
    fit into the budget; `nearest` (G,) is the least penalty of another row. No selection within the
    budget has a loss below that of `picked` less `u * room + shortfall`; one that takes rows of
    penalties p, q, ... has none below that plus p + q + ... . `capacity` is what the budget leaves
    above the cheapest rows, `room` what it leaves above the picked ones. All penalties of selections
    within the budget, added up exactly, are right to within `rounding`.
    """

    capacity: int
    multiplier: float
    picked: NDArray[np.int64]
    room: int
    penalty: NDArray[Any]
    nearest: NDArray[Any]
    shortfall: float

    @property
    def extent(self) -> float:
        """What the losses of deviations can add up to, in absolute value."""
        return self.multiplier * (self.capacity + self.room) + 2.0**20 * self.shortfall

    @property
    def rounding(self) -> float:
        """Eight roundings of float64, each at most 2**-53 of the extent."""
        return 2.0**-50 * self.extent


def relax(groups: Groups, cost: str, limit: int) -> Relaxation | None:
    """Find the multiplier of the best bound for a limit in units; None where the cheapest do not fit."""
    units = groups.costs[cost]
    if units.dtype != object:
        limit = min(limit, _MOST_UNITS)
    figures = relaxed(groups.start, units, groups.loss, limit)
    return None if figures[0] < 0 else Relaxation(*figures)


def exactly(
    groups: Groups, cost: str, relaxation: Relaxation, picked: NDArray[np.int64]
) -> tuple[Relaxation, Integers, Fraction]:
    """The relaxation with its multiplier, about another selection that fits, without any rounding.

    Multiplier, penalties and shortfall are Python integers of a unit, which comes with them, as do
    all rows' losses. Infinite penalties are finite ones that no better answer can have.
    """
    losses, unit = exact_units(groups.loss)
    line = Fraction(relaxation.multiplier)
    finer = (line / unit).denominator
    losses, unit = losses * finer, unit / finer
    price, start, units = int(line / unit), groups.start, groups.costs[cost].astype(object)
    counts = np.diff(start)
    base, cheapest = np.repeat(picked, counts), np.minimum.reduceat(units, start[:-1])
    value = (losses - losses[base]) + price * (units - units[base])
    fits = np.asarray(units - np.repeat(cheapest, counts) <= relaxation.capacity, dtype=bool)
    room = relaxation.capacity + int(cheapest.sum() - units[picked].sum())
    lacking = np.minimum(np.minimum.reduceat(np.where(fits, value, 0), start[:-1]), 0)
    shortfall = -int(lacking.sum())
    too_much = price * room + shortfall + 2 * len(value)
    penalty = np.where(fits, np.maximum(value, 0), too_much)
    others = penalty.copy()
    others[picked] = too_much
    nearest = np.minimum.reduceat(others, start[:-1])
    about = Relaxation(relaxation.capacity, price, picked, room, penalty, nearest, shortfall)
    return about, losses, unit


@accelerated(1)
def relaxed(
    start: NDArray[np.int64], cost: Integers, loss: NDArray[np.float64], limit: int
) -> tuple[int, float, NDArray[np.int64], int, NDArray[np.float64], NDArray[np.float64], float]:
    """The fields of a `Relaxation`; all but a negative capacity is void where there is one."""
    counts = np.diff(start)
    cheapest = np.minimum.reduceat(cost, start[:-1])
    capacity = limit - int(cheapest.sum())
    cost = cost - np.repeat(cheapest, counts)
    ends = _ends(start, cost, loss, capacity)
    if capacity < 0:
        return capacity, 0.0, ends[0], capacity, np.empty(0), np.empty(0), 0.0
    line, low, high = _break(start, cost, loss, capacity, ends)
    picked, room = _filled(cost, low, high, capacity)
    value = loss - np.repeat(loss[picked], counts)
    value += line * (cost - np.repeat(cost[picked], counts)).astype(np.float64)
    value[np.asarray(cost > capacity, dtype=bool)] = np.inf
    least = np.minimum(np.minimum.reduceat(value, start[:-1]), 0.0)
    penalty = np.maximum(value, 0.0)
    others = penalty.copy()
    others[picked] = np.inf
    nearest = np.minimum.reduceat(others, start[:-1])
    return capacity, line, picked, room, penalty, nearest, 0.0 - _total(least)


def _break(
    start: NDArray[np.int64],
    cost: Integers,
    loss: NDArray[np.float64],
    capacity: int,
    ends: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[float, NDArray[np.int64], NDArray[np.int64]]:
    """Return the multiplier and the rows of two answers on its line, within the budget and not.

    `ends` are the answers to begin with, the cheapest one and the one of least loss. Each pass tries
    the slope between the two answers at hand. Rows only move between those of the two, so that a
    group in which they agree is settled and leaves the passes [HZ1980]. Where the rows of least loss
    fit they are both answers, with a multiplier of 0.
    """
    low, high = ends
    cost_low, cost_high = 0, int(cost[high].sum())
    if cost_high <= capacity:
        return 0.0, high, high
    loss_low, loss_high = _total(loss[low] - loss[high]), 0.0
    row, counts = np.arange(len(cost)), np.diff(start)
    regret = np.where(np.asarray(cost <= capacity, dtype=bool), loss, np.inf)
    regret -= np.repeat(loss[low], counts)
    price, active = cost.astype(np.float64), np.arange(len(counts))
    while True:
        line = max((loss_low - loss_high) / (cost_high - cost_low), 0.0)
        begin = np.cumsum(counts) - counts
        pick = row[_first_least(regret + line * price, begin, counts)]
        stay = low[active]
        total = cost_low + int((cost[pick] - cost[stay]).sum())
        lost = loss_low + _total(loss[pick] - loss[stay])
        if not cost_low < total < cost_high:
            return _slope(cost, loss, low, high, line), low, high
        if total <= capacity:
            low[active], cost_low, loss_low = pick, total, lost
        else:
            high[active], cost_high, loss_high = pick, total, lost
        apart = low[active] != high[active]
        inside = np.repeat(apart, counts)
        row, regret, price = row[inside], regret[inside], price[inside]
        active, counts = active[apart], counts[apart]


def _slope(
    cost: Integers,
    loss: NDArray[np.float64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    line: float,
) -> float:
    """The slope of the line as the first group shows it in which the two answers differ.

    It is the same line, but not rounded by sums over all groups.
    """
    steps = cost[high] - cost[low]
    apart = np.flatnonzero(np.asarray(steps > 0, dtype=bool))
    if not len(apart):
        return line
    g = apart[0]
    return max(float(loss[low[g]] - loss[high[g]]) / int(steps[g]), 0.0)


def _ends(
    start: NDArray[np.int64], cost: Integers, loss: NDArray[np.float64], capacity: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cheapest row of every group, and the row of least loss that fits; of equal ones the first.

    Among equally cheap rows that of least loss counts, among equally good ones the cheapest.
    """
    begin, counts = start[:-1], np.diff(start)
    low = _first_least(np.where(np.asarray(cost == 0, dtype=bool), loss, np.inf), begin, counts)
    fitting = np.where(np.asarray(cost <= capacity, dtype=bool), loss, np.inf)
    least = fitting == np.repeat(np.minimum.reduceat(fitting, begin), counts)
    rows = np.flatnonzero(least)
    if len(rows) == len(counts):
        return low, rows
    sizes = np.add.reduceat(least, begin, dtype=np.int64)
    return low, rows[_first_least(cost[rows], np.cumsum(sizes) - sizes, sizes)]


def _first_least(
    value: Integers, begin: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The index of the least value of every group, the first of equal ones."""
    least = np.flatnonzero(value == np.repeat(np.minimum.reduceat(value, begin), counts))
    return least if len(least) == len(begin) else least[np.searchsorted(least, begin)]


def _total(values: NDArray[np.float64]) -> float:
    """The sum from left to right, which is what the compiled twin adds up."""
    return float(np.cumsum(values)[-1])


def _filled(
    cost: Integers, low: NDArray[np.int64], high: NDArray[np.int64], capacity: int
) -> tuple[NDArray[np.int64], int]:
    """The rows `low`, moved to `high` in the order of the groups as far as it fits; what is left."""
    steps = cost[high] - cost[low]
    room = capacity - int(cost[low].sum())
    dearer = np.asarray(steps > 0, dtype=bool)
    fits = np.asarray(np.cumsum(np.where(dearer, steps, 0)) <= room, dtype=bool)
    picked = np.where(fits & dearer, high, low)
    return picked, capacity - int(cost[picked].sum())
