"""All non-dominated totals: the groups' choices merged into one list after the other.

.. [NU1969] Nemhauser, Ullmann: Discrete dynamic programming and capital allocation. Management
   Science 15(9), 1969.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.protocols import SolveSession
from bitwright.search.one_budget.lists import States, Trail, comparable, joined
from bitwright.search.reduction import ChoiceTable, Integers

MOST_STATES = 2**22
"""The length of a list without another limit."""

MOST_STATES_IN_ALL = 2**26
"""What all lists together may come to without another limit: 400 MB, at times twice that."""

_SLOWER = 64
_MOST_EXACT = 2**12
_TRIFLE = 2.0**-12


@dataclass(frozen=True, eq=False)
class MergedLists:
    """The last list: totals by rising cost, above the cheapest of every group, and falling loss.

    Loss counts in `unit` above `least`. No total of the front lies more than `error` below the last
    one here that costs no more.
    """

    cost: Integers
    loss: Integers
    least: float
    unit: Fraction
    error: float
    order: NDArray[np.int64]
    start: NDArray[np.int64]
    trail: Trail

    @property
    def losses(self) -> NDArray[np.float64]:
        """The losses as floats."""
        if self.loss.dtype == object:
            least = Fraction(self.least)
            return np.array([float(least + loss * self.unit) for loss in self.loss.tolist()])
        return self.least + self.loss * float(self.unit)

    def rows(self, points: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the table behind some totals, shape (len(points), G)."""
        rows = np.empty((len(self.order), len(points)), dtype=np.int64)
        rows[self.order] = self.trail.choices(points).T
        rows += self.start[:-1, None]
        return rows.T


def merged_lists(  # noqa: PLR0917
    table: ChoiceTable,
    capacity: int | None,
    session: SolveSession,
    allowed_loss: float = 0.0,
    hopeless: float = math.inf,
    exact: bool = False,
) -> MergedLists | None:
    """Merge the rows of one group after the other into one list of totals, large cost ranges first.

    The table holds undominated rows only. Each list is thinned by its share of `allowed_loss`, and
    to half of its limit where it grows beyond it. None where that makes the error larger than
    `hopeless`, or where time runs out. Losses are Python integers with `exact`; short lists are
    merged like that once more where anything was rounded, and for long ones that counts as error
    where it could be more than a trifle of a total.
    """
    dearest = table.cost[table.start[1:] - 1]
    order = np.argsort(-dearest, kind="stable")
    losses, unit, rounding = comparable(table.loss, table.start, exact)
    rounding += table.rounding
    width = max(math.floor(Fraction(allowed_loss) / unit / len(order)) - 1, 0)
    error = float(width * len(order) * unit)
    limit = session.effort.states or min(MOST_STATES, MOST_STATES_IN_ALL // len(order))
    if exact:
        limit = max(limit // _SLOWER, 1)
    highest = int(dearest.sum())
    if capacity is not None:
        highest = min(highest, capacity)
    states: States = np.zeros(1, table.cost.dtype), np.zeros(1, losses.dtype)
    trail = Trail()
    for g in order.tolist():
        rows = slice(table.start[g], table.start[g + 1])
        more = table.cost[rows], losses[rows]
        states, parent, choice = joined(states, more, (0.0, 0.0), math.inf, (0, highest))
        thinner, loss = width, states[1]
        if len(loss) > limit:
            thinner = max(width, 2 * int(loss[0] - loss[-1]) // limit + 1)
            error += float((thinner - width) * unit)
        if thinner:
            kept = _thinned(loss, thinner)
            states = states[0][kept], loss[kept]
            parent, choice = parent[kept], choice[kept]
        trail.append(parent, choice)
        if error > max(hopeless, allowed_loss) or session.out_of_time():
            return None
    least = math.fsum(np.minimum.reduceat(table.loss, table.start[:-1]))
    lists = MergedLists(
        *states, least, unit, error + rounding, order=order, start=table.start, trail=trail
    )
    if error or not rounding:
        return lists
    if not exact and len(trail) * len(states[0]) <= _MOST_EXACT:
        return merged_lists(table, capacity, session, exact=True)
    return replace(lists, error=0.0) if rounding <= _TRIFLE * _smallest(lists, table) else lists


def _smallest(lists: MergedLists, table: ChoiceTable) -> float:
    """The smallest total in absolute value, or what comes next to it where that is 0 for certain."""
    totals = np.abs(lists.losses)
    if totals[-1] == 0.0 and lists.loss[-1] == 0:
        above = table.loss - np.repeat(table.loss[table.start[1:] - 1], np.diff(table.start))
        totals[-1] = above[above > 0].min(initial=math.inf)
    return float(totals.min())


def _thinned(loss: Integers, width: int) -> NDArray[np.int64]:
    """Of falling losses the first in every interval of a width, and the last of all."""
    interval = (loss[0] - loss) // width
    kept = np.flatnonzero(np.diff(interval, prepend=-1))
    return kept if kept[-1] == len(loss) - 1 else np.append(kept, len(loss) - 1)
