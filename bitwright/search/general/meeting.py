"""Two lists of deviations joined: the best pair within the limits, found without trying all pairs.

A pair whose loss is at most the bound plus g leaves at most g / multiplier of every row unused. The
second partner of a deviation is thus looked up in a grid over the tightest rows.

.. [HS1974] Horowitz, Sahni: Computing partitions with applications to the knapsack problem. Journal
   of the ACM 21(2), 1974.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.protocols import SolveSession
from bitwright.search.general.deviations import DeviationList
from bitwright.search.reduction import Integers

_PAIRS_AT_ONCE = 2**21
_MOST_DIMENSIONS = 5


@dataclass(frozen=True, eq=False)
class Limits:
    """Units that a pair may take, (R,), what a unit left unused is worth, (R,), and how much may be.

    No more than some `pairs` are tried.
    """

    room: Integers
    multipliers: NDArray[np.float64]
    allowance: float
    pairs: int


@dataclass(frozen=True, eq=False)
class Meeting:
    """The best pair: its places in the two lists and its loss; `complete` if none was left out."""

    first: int
    second: int
    loss: int | None
    complete: bool


def best_pair(
    first: DeviationList,
    second: DeviationList,
    shared: NDArray[np.float64],
    limits: Limits,
    session: SolveSession,
) -> Meeting:
    """The pair of least loss that agrees on its key and stays within the room.

    All pairs are found whose penalties and unused room are worth at most the allowance, and by
    chance others. Of two partners one has at most half of the allowance, so that long lists are
    only looked up by short ones.
    """
    a, b = first.states, second.states
    own = b.penalty - shared[b.origin]
    half = limits.allowance / 2
    low_a, low_b = a.penalty <= half, own <= half
    rounds = [
        (a.key, a, np.flatnonzero(low_a), b.origin, b, np.arange(len(b))),
        (b.origin, b, np.flatnonzero(low_b), a.key, a, np.flatnonzero(~low_a)),
    ]
    best, places, pairs = None, (-1, -1), 0
    for turned, (key, asking, askers, other_key, asked, partners) in enumerate(rounds):
        if not len(askers) or not len(partners):
            continue
        grid = _Grid(other_key[partners], asked.units[partners], limits)
        for i, j in grid.candidates(key[askers], asking.units[askers]):
            pairs += len(i)
            one, two = askers[i], partners[j]
            fits = np.flatnonzero(
                np.asarray(
                    (asking.units[one] + asked.units[two] <= limits.room).all(axis=1), dtype=bool
                )
            )
            if len(fits):
                losses = asking.loss[one[fits]] + asked.loss[two[fits]]
                at = int(np.argmin(losses))
                if best is None or losses[at] < best:
                    best = int(losses[at])
                    pair = int(one[fits[at]]), int(two[fits[at]])
                    places = pair[::-1] if turned else pair
            if pairs > limits.pairs or session.out_of_time():
                return Meeting(*places, best, complete=False)
    return Meeting(*places, best, complete=first.complete and second.complete)


class _Grid:
    """Deviations sorted by key and by cells, one row of cells as wide as its unused room may be."""

    def __init__(self, key: NDArray[np.int64], units: Integers, limits: Limits) -> None:
        self._room = limits.room
        least, most = units.min(axis=0), units.max(axis=0)
        self._rows, self._width = _tightest(least, most, limits, len(key))
        self._least = [int(least[k]) for k in self._rows]
        self._cells = [
            (int(most[k]) - low) // width + 1
            for k, low, width in zip(self._rows, self._least, self._width, strict=True)
        ]
        code = key
        for k, low, width, cells in self._dimensions():
            code = code * cells + ((units[:, k] - low) // width).astype(np.int64)
        self._order = np.argsort(code, kind="stable")
        self._code = code[self._order]

    def _dimensions(self) -> Iterator[tuple[int, int, int, int]]:
        return zip(self._rows, self._least, self._width, self._cells, strict=True)

    def candidates(
        self, key: NDArray[np.int64], units: Integers
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Places of askers and of those in the cells that partners of theirs must be in, in parts."""
        highest = [
            ((self._room[k] - units[:, k] - low) // width)
            for k, low, width, _ in self._dimensions()
        ]
        for offset in itertools.product((0, 1), repeat=len(self._rows)):
            code, inside = key, np.ones(len(key), dtype=bool)
            for cell, shift, (_, _, _, cells) in zip(
                highest, offset, self._dimensions(), strict=True
            ):
                at = cell - shift
                inside &= np.asarray((at >= 0) & (at < cells), dtype=bool)
                code = code * cells + np.where(inside, at, 0).astype(np.int64)
            asker = np.flatnonzero(inside)
            start = np.searchsorted(self._code, code[asker], "left")
            count = np.searchsorted(self._code, code[asker], "right") - start
            yield from self._spelled_out(asker, start, count)

    def _spelled_out(
        self, asker: NDArray[np.int64], start: NDArray[np.int64], count: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """All pairs of askers and the runs that they met, some millions at a time."""
        kept = np.flatnonzero(count)
        asker, start, count = asker[kept], start[kept], count[kept]
        until = np.cumsum(count)
        place = 0
        while place < len(asker):
            done = until[place - 1] if place else 0
            stop = max(int(np.searchsorted(until, done + _PAIRS_AT_ONCE, "right")), place + 1)
            part = slice(place, stop)
            one = np.repeat(asker[part], count[part])
            offset = np.repeat(until[part] - count[part] - done, count[part])
            run = np.arange(len(one)) - offset + np.repeat(start[part], count[part])
            yield one, self._order[run]
            place = stop


def _tightest(
    least: Integers, most: Integers, limits: Limits, states: int
) -> tuple[list[int], list[int]]:
    """The rows that tell partners apart best, and the most units that each may leave unused."""
    widths = []
    for k, multiplier in enumerate(limits.multipliers.tolist()):
        span = int(most[k]) - int(least[k]) + 1
        slack = limits.allowance / multiplier if multiplier > 0 else math.inf
        widths.append((int(slack) + 1 if slack < span else span, span))
    share = [width / span for width, span in widths]
    rows: list[int] = []
    expected, cells = float(states), 1
    for k in sorted(range(len(share)), key=lambda k: (share[k], k)):
        cells *= widths[k][1] // widths[k][0] + 1
        if expected < 0.5 or share[k] > 0.4 or len(rows) == _MOST_DIMENSIONS or cells > 2**40:
            break
        rows.append(k)
        expected *= share[k]
    return rows, [widths[k][0] for k in rows]
