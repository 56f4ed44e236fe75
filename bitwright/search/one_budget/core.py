"""The core: the groups in which a better answer may deviate from the relaxation's, least penalty first.

.. [Pis1995] Pisinger: A minimal algorithm for the multiple-choice knapsack problem. European
   Journal of Operational Research 83(2), 1995.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitwright.search.kernels import accelerated
from bitwright.search.one_budget.lists import States, in_units, loss_exponent
from bitwright.search.one_budget.relaxation import Relaxation, exactly
from bitwright.search.reduction import Groups, Integers

_FIRST_PART = 256
_SAFE = 2**60
_MOST_DECIMALS = 12
_SAMPLE = 64
_GOLDEN = 0.6180339887498949


class CorePart(NamedTuple):
    """The core's groups from `first` up to `last`, with the rows that a better answer may take.

    Place p owns the rows `start[p - first]` up to `start[p - first + 1]`, by rising cost and falling
    loss. Costs and losses are differences to the group's picked row, which is among them with 0, the
    losses in the core's unit. `row` is the row of the groups.
    """

    first: int
    start: NDArray[np.int64]
    rows: States
    row: NDArray[np.int64]

    @property
    def last(self) -> int:
        """The place behind the part."""
        return self.first + len(self.start) - 1

    def row_at(self, place: int, choice: int) -> int:
        """The row of the groups that a choice of a place stands for."""
        return int(self.row[self.start[place - self.first] + choice])


class Core:
    """The groups that may deviate, (C,), and how their losses are counted.

    A deviation takes other rows than the picked ones; its cost lies within the capacity and its
    penalty within the gap, so that its loss is at most the relaxation's extent. Losses are integers;
    `prices` say what a unit of cost and one of loss are worth, so that both make the penalty, and
    `scale` what a penalty of 1 is in losses. `nearest` (C + 1,) rises and ends with infinity. `gap`
    is by how much the picked selection may be improved on, `room` what such an answer may spend, and
    all penalties are right to within `rounding`. In an `exact` core they are Python integers.
    """

    def __init__(
        self,
        groups: Groups,
        cost: str,
        relaxation: Relaxation,
        picked: NDArray[np.int64] | None = None,
    ) -> None:
        """The core about the picked selection of a relaxation, or about another one and then exact."""
        self._groups, self._cost, self._loss = groups, groups.costs[cost], groups.loss
        self.exact = picked is not None
        self.rounding: float = 0
        self.scale, unit = Fraction(1), 1.0
        if picked is not None:
            relaxation, self._loss, self.scale = exactly(groups, cost, relaxation, picked)
            self._cost = self._cost.astype(object)
        else:
            self.rounding = relaxation.rounding
            unit = 2.0 ** -loss_exponent(4.0 * relaxation.extent)
        self.relaxation = relaxation
        self.prices = relaxation.multiplier, (1 if self.exact else unit)
        self._worth = relaxation.multiplier * relaxation.room + relaxation.shortfall + self.rounding
        (group,) = np.asarray(relaxation.nearest <= self._worth, dtype=bool).nonzero()
        group = group[_scattered(len(group))]
        self.group = group[np.argsort(relaxation.nearest[group], kind="stable")]
        self.nearest = np.empty(len(group) + 1, dtype=relaxation.nearest.dtype)
        self.nearest[:-1] = relaxation.nearest[self.group]
        self.nearest[-1] = self._worth + 2 * len(self._loss) if self.exact else np.inf
        self._part: CorePart | None = None
        self.room = self._reachable_room()
        self.gap = relaxation.multiplier * self.room + relaxation.shortfall

    def __len__(self) -> int:
        return len(self.group)

    @property
    def nothing(self) -> States:
        """The list of one state that deviates nowhere."""
        cost, loss = self.part(0).rows
        return np.zeros(1, cost.dtype), np.zeros(1, loss.dtype)

    def part(self, place: int) -> CorePart:
        """The part that begins at a place or holds it; parts grow, since most searches are short."""
        if self._part is None or not self._part.first <= place < self._part.last:
            size = max(_FIRST_PART, 4 * place)
            self._part, _ = self._gathered(place, place + size)
        return self._part

    def _gathered(self, first: int, last: int) -> tuple[CorePart, int]:
        start, row, (cost, loss), divisor = gathered(
            self.group[first:last], self._groups.start, self._cost, self._loss,
            self.relaxation.penalty, self.relaxation.picked, self._worth, self.prices[1],
        )  # fmt: skip
        if self.relaxation.capacity < _SAFE and not self.exact:
            cost = cost.astype(np.int64, copy=False)
        return CorePart(first, start, (cost, loss), row), divisor

    def _reachable_room(self) -> int:
        """The room rounded down to what the differences in cost can add up to."""
        room = self.relaxation.room
        self._part, divisor = self._gathered(0, _FIRST_PART)
        if divisor > 1 and self._part.last < len(self):
            divisor = self._gathered(0, len(self))[1]
        return room - room % divisor if divisor else room

    def decimal_step(self, gap: float) -> tuple[float, float]:
        """By how much losses within a gap of the best bound differ if at all, and to within what.

        Totals of decimals differ by a step or not at all; sums of the floats that stand for them are
        off by some noise. The step is 0 where the losses are no decimals.
        """
        near = np.asarray(self.relaxation.penalty <= gap + self.rounding, dtype=bool)
        rows, loss = np.flatnonzero(near), self._groups.loss
        picked = loss[self.relaxation.picked]
        group = np.searchsorted(self._groups.start, rows, side="right") - 1
        both = np.concatenate([loss[rows], picked])
        for digits in range(_MOST_DECIMALS + 1):
            scale = 10.0**digits
            if _are_decimals(both[:_SAMPLE], scale) and _are_decimals(both, scale):
                steps = np.rint(loss[rows] * scale) - np.rint(picked * scale)[group]
                noise = 2.0**-50 * float(np.abs(picked).sum()) if digits else 0.0
                return int(np.gcd.reduce(steps.astype(np.int64))) / scale, noise
        return 0.0, 0.0


@accelerated(2, 3)
def gathered(  # noqa: PLR0917 - the compiled twin takes no keywords
    group: NDArray[np.int64],
    start: NDArray[np.int64],
    cost: Integers,
    loss: Integers,
    penalty: NDArray[np.float64],
    picked: NDArray[np.int64],
    worth: float,
    unit: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], States, int]:
    """Start, row and rows of a `CorePart`, and the greatest common divisor of its costs.

    Rows of a penalty above `worth` are left out, and those that another of the group matches in cost
    and loss. Integer losses are taken as they are, others in multiples of the unit.
    """
    counts = start[group + 1] - start[group]
    begin = np.cumsum(counts) - counts
    row = np.repeat(start[group] - begin, counts) + np.arange(int(counts.sum()))
    place = np.repeat(np.arange(len(group)), counts)
    open_ = (penalty[row] <= worth) | (row == picked[group][place])
    row, place = row[open_], place[open_]
    base = picked[group][place]
    costs = cost[row] - cost[base]
    losses: Integers = loss[row] - loss[base]
    if loss.dtype != object:
        losses, _ = in_units(loss[row], loss[base], unit)
    order = np.lexsort((losses, costs, place))
    row, place, costs, losses = row[order], place[order], costs[order], losses[order]
    while True:
        kept = np.ones(len(row), dtype=bool)
        kept[1:] = np.asarray(losses[1:] < losses[:-1], dtype=bool) | (place[1:] != place[:-1])
        if kept.all():
            break
        row, place, costs, losses = row[kept], place[kept], costs[kept], losses[kept]
    first = np.searchsorted(place, np.arange(len(group) + 1))
    return first, row, (costs, losses), int(np.gcd.reduce(costs))


def _scattered(count: int) -> NDArray[np.int64]:
    """The first `count` integers in an order that leaves no region out for long.

    Of groups of equal penalties neighbours are often alike, such as all raised or none; a search
    needs both kinds early on.
    """
    step = max(round(count * _GOLDEN), 1)
    while math.gcd(step, count) > 1:
        step += 1
    return np.arange(count) * step % max(count, 1)


def _are_decimals(values: NDArray[np.float64], scale: float) -> bool:
    """Whether all values are integers over `scale`, but for the rounding of a float or two."""
    whole = np.rint(values * scale)
    close = np.abs(whole / scale - values) <= 2.0**-51 * np.abs(values)
    return bool(np.abs(whole).max(initial=0.0) < 2.0**53 and close.all())
