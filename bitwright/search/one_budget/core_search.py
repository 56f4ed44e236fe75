"""The search for the best answer: two lists of deviations, extended in turn and paired.

A state is a set of rows for some of the core's groups, all others staying as picked. Every pair of
states, one of each list, is an answer, and the best pair within the budget is found in one pass over
both [HS1974]: two lists of a thousand states stand for a million answers. What a further group must
add to a penalty is known, so that states fall off both ends and the search ends long before the last
group [Pis1995].

.. [HS1974] Horowitz, Sahni: Computing partitions with applications to the knapsack problem. Journal
   of the ACM 21(2), 1974.
.. [Pis1995] Pisinger: A minimal algorithm for the multiple-choice knapsack problem. European
   Journal of Operational Research 83(2), 1995.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.protocols import SolveSession
from bitwright.search.kernels import accelerated
from bitwright.search.one_budget.core import Core, CorePart
from bitwright.search.one_budget.lists import States, joined, paired, penalties

MOST_STATES = 2**20
"""The length of a list without another limit."""

_WORK_PER_STATE = 32
_EASY_STATES = 1024
_SLOWER = 64
_HIDDEN = 2.0**-6
_LAST_PLACES = 64
_PLACES_BETWEEN_CLOCKS = 16


class CoreAnswer(NamedTuple):
    """The best selection found, (G,) rows of the groups, and how far it may be from the best there is.

    `gap` is what the limits of the effort leave open, `rounding` what the arithmetic does; `certain`
    says that nothing is hidden by that.
    """

    picked: NDArray[np.int64]
    gap: float
    rounding: float
    certain: bool


def search_core(core: Core, session: SolveSession) -> CoreAnswer:
    """Extend the lists group by group; proves the best answer unless a limit cuts in.

    Once nothing but rounding is left between answer and bound the answer is settled as far as float64
    losses tell, and only a bounded effort goes into their last bits. Where lists grow long, losses
    that are decimals help: they differ by a step or not at all.
    """
    search = _Search(core, session)
    limit = session.effort.states or MOST_STATES
    easy = min(limit, _EASY_STATES)
    search.run(easy, core.rounding)
    search.look_at_last_bits(easy)
    if search.finished:
        return search.answer()
    settled = search.look_for_a_step()
    while search.goes_on and search.gap > settled:
        search.keep_most_promising(limit)
        search.run(limit, settled)
    search.look_at_last_bits(easy)
    return search.answer()


class _Search:
    """The two lists, how their states came about, and the best answer so far.

    Costs and losses are counted from the picked selection, so that the room is what may be spent.
    """

    def __init__(self, core: Core, session: SolveSession) -> None:
        self._core, self._session = core, session
        self._lists: list[States] = [core.nothing] * 2
        self._history: list[_Run | _Cut] = []
        self._best, self._found = 0, _Found(0, 0, 0, 0, 0)
        self._dropped = math.inf
        self._work = _WORK_PER_STATE * max(session.effort.states or 0, MOST_STATES)
        if core.exact:
            self._work //= _SLOWER
        self._step: float = 0
        self._noise, self._hidden = 2.0 * core.rounding, False
        self.place = 0

    @property
    def gap(self) -> float:
        """Loss of the best answer less the least loss that the relaxation leaves possible."""
        return self._core.gap + self._best * self._core.prices[1]

    @property
    def finished(self) -> bool:
        """Whether no group from `place` on can make a better answer any more."""
        slack = self._core.rounding + self._core.prices[1] * (self.place + 1) - self._step
        return bool(self._core.nearest[self.place] > self.gap + slack)

    @property
    def goes_on(self) -> bool:
        """Whether there is something left to do and effort to do it with."""
        return not self.finished and self._work > 0 and not self._session.out_of_time()

    def run(self, most: int, settled: float, until: int | None = None) -> None:
        """Go on until the search is finished or settled, or a list has grown beyond `most` states."""
        end = len(self._core) if until is None else min(until, len(self._core))
        timed = self._session.effort.seconds is not None
        while (
            self.place < end
            and self.goes_on
            and self.gap > settled
            and len(self._lists[0][0]) <= most
            and len(self._lists[1][0]) <= most
        ):
            last = self.place + _PLACES_BETWEEN_CLOCKS if timed else end
            self._advance(min(last, end), most, settled)

    def _advance(self, until: int, most: int, settled: float) -> None:
        core, part, place = self._core, self._core.part(self.place), self.place
        one, other = self._lists
        self.place, *lists, self._best, self._work, found, side, end, parent, choice = advanced(
            part.first, part.start, part.rows, core.nearest, place, min(until, part.last),
            one, other, self._best, core.room, core.relaxation.capacity, most, self._work,
            core.prices, core.gap, core.rounding - self._step, settled,
        )  # fmt: skip
        self._lists = lists
        if found[0] >= 0:
            self._found = _Found(len(self._history) + 1, *found)
        self._history.append(_Run(part, place, side, end, parent, choice))

    def look_at_last_bits(self, most: int) -> None:
        """Go on a little where the answer is settled, as long as lists have at most `most` states."""
        if self.gap <= self._core.rounding:
            self.run(most, -math.inf, self.place + _LAST_PLACES)

    def look_for_a_step(self) -> float:
        """Find out by how much better answers are better at least: others need not be looked at.

        Where losses are decimals but rounding hides the step, nothing can be told from the best that
        is not searched to the end. Returns the gap that an answer may have to count as settled.
        """
        core = self._core
        step, noise = core.decimal_step(self.gap)
        self._noise += noise
        self._hidden = self._noise > _HIDDEN * step > 0.0
        if step and not self._hidden:
            self._step = (1.0 - _HIDDEN) * step
            if core.exact:
                self._step = int(Fraction(self._step) / core.scale)
        return min(core.rounding, step / 2) if step else core.rounding

    def keep_most_promising(self, states: int) -> None:
        """Cut the lists to the states of least penalty; what is dropped weakens the bound.

        Of states with the same penalty some all over the list are kept, so that costs of all sizes
        stay.
        """
        for side, (cost, loss) in enumerate(self._lists):
            if len(cost) > states:
                penalty = penalties((cost, loss), self._core.prices)
                limit = np.partition(penalty, states)[states]
                self._dropped = min(self._dropped, limit)
                kept, ties = np.flatnonzero(penalty < limit), np.flatnonzero(penalty == limit)
                few = np.linspace(0, len(ties), states - len(kept), endpoint=False)
                kept = np.sort(np.concatenate([kept, ties[few.astype(np.int64)]]))
                self._lists[side] = cost[kept], loss[kept]
                self._history.append(_Cut(side, kept))

    def answer(self) -> CoreAnswer:
        """The best answer, and how far it may be from the best there is."""
        core, dropped = self._core, self._dropped
        if not self.finished:
            dropped = min(dropped, core.nearest[self.place])
        searched = dropped == math.inf
        rounding = 0.0 if core.exact else core.prices[1] * self.place
        if self._step or not searched:
            rounding += self._noise
        left = 0 if searched else self.gap - dropped
        left = float(left * core.scale) if left > max(core.rounding, self._step) else 0.0
        return CoreAnswer(self._picked(), left, rounding, searched or not self._hidden)

    def _picked(self) -> NDArray[np.int64]:
        """The rows of the best answer, found by following its two states back."""
        core, found = self._core, self._found
        picked = core.relaxation.picked.copy()
        states = [found.partner, found.partner]
        for number in reversed(range(found.runs)):
            past = self._history[number]
            if isinstance(past, _Cut):
                states[past.side] = int(past.kept[states[past.side]])
                continue
            steps = len(past.side)
            if number + 1 == found.runs:
                steps = found.step
                place = past.place + steps
                picked[core.group[place]] = past.part.row_at(place, found.choice)
                states[int(past.side[steps])] = found.state
            for place, row in past.back(states, steps):
                picked[core.group[place]] = row
        return picked


class _Found(NamedTuple):
    """The best pair: the runs up to it, the last one's step that led to it, and its two states.

    `state` is the one that the step extended by `choice`, `partner` that of the other list.
    """

    runs: int
    step: int
    state: int
    choice: int
    partner: int


class _Cut(NamedTuple):
    """A list cut to some of its states."""

    side: int
    kept: NDArray[np.int64]


class _Run(NamedTuple):
    """Some extensions, of one list each: step t took place `place + t` of the part.

    `side[t]` is the list that it extended, `parent` and `choice` up to `end[t]` say of every state
    that it led to which state was extended and by which of the place's rows.
    """

    part: CorePart
    place: int
    side: NDArray[np.int64]
    end: NDArray[np.int64]
    parent: NDArray[np.int32]
    choice: NDArray[np.int32]

    def back(self, states: list[int], steps: int) -> list[tuple[int, int]]:
        """Place and row of each of the first steps; `states` are followed back to the run's start."""
        taken, begin = [], [0, *self.end.tolist()]
        for step, side in reversed(list(enumerate(self.side[:steps].tolist()))):
            at, place = begin[step] + states[side], self.place + step
            taken.append((place, self.part.row_at(place, self.choice[at])))
            states[side] = int(self.parent[at])
        return taken


@accelerated(2)
def advanced(  # noqa: PLR0917 - the compiled twin takes no keywords
    first: int,
    start: NDArray[np.int64],
    rows: States,
    nearest: NDArray[np.float64],
    place: int,
    until: int,
    one: States,
    other: States,
    best: int,
    room: int,
    capacity: int,
    most: int,
    work: int,
    prices: tuple[float, float],
    relaxed_gap: float,
    rounding: float,
    settled: float,
) -> tuple[Any, ...]:
    """Extend the shorter of two lists by one place after the other, from `place` up to `until`.

    `first`, `start` and `rows` are those of a `CorePart`. Each new list is paired with the other one,
    and then loses the states that are too dear for any further place. Ends early where the best
    answer is settled, no place is left that may improve it, a list has more than `most` states, or
    `work` states have been looked at. Returns the place reached, the two lists, the best loss, the
    work left, the last pair that was better (step, state, choice and partner as in `_Found`, step -1
    without one), and the steps as in `_Run`.
    """
    lists, found = [one, other], (-1, 0, 0, 0)
    sides: list[int] = []
    parents = [np.empty(0, dtype=np.int32)]
    choices = [np.empty(0, dtype=np.int32)]
    while place < until and work > 0 and max(len(s[0]) for s in lists) <= most:
        gap = relaxed_gap + best * prices[1]
        slack = rounding + prices[1] * (place + 1)
        if gap <= settled or nearest[place] > gap + slack:
            break
        side = int(len(lists[0][0]) > len(lists[1][0]))
        short, long = lists[side], lists[1 - side]
        a, b = start[place - first], start[place - first + 1]
        work -= len(short[0]) * int(b - a)
        new, parent, choice = joined(
            short, (rows[0][a:b], rows[1][a:b]), prices, gap + slack, (-capacity, capacity)
        )
        total, state, partner = paired(new[0], new[1], long[0], long[1], room)
        if total < best:
            best = total
            found = (len(sides), int(parent[state]), int(choice[state]), partner)
        place += 1
        limit = relaxed_gap + best * prices[1] + slack - nearest[place]
        kept = penalties(new, prices) <= limit
        lists[side] = new[0][kept], new[1][kept]
        sides.append(side)
        parents.append(parent[kept])
        choices.append(choice[kept])
    ends = np.cumsum([len(p) for p in parents[1:]], dtype=np.int64)
    return (
        place, *lists, best, work, found,
        np.array(sides, dtype=np.int64), ends, np.concatenate(parents), np.concatenate(choices),
    )  # fmt: skip
