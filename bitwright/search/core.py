"""The expanding core: lists of deviations from the relaxation's answer, most undecided groups first.

A list state is a set of choices for the groups seen so far, all others staying as picked. What a
further group must add to its penalty is known, so that states fall off both ends and the search
ends long before the last group.

.. [Pis1995] Pisinger: A minimal algorithm for the multiple-choice knapsack problem. European
   Journal of Operational Research 83(2), 1995.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.protocols import SolveSession
from bitwright.search.lists import Trail, as_integers, undominated
from bitwright.search.reduction import ChoiceTable, Integers
from bitwright.search.relaxation import Relaxation

_PROBE_AT = 4096
_PROBE_GROUPS = 256
_PROBE_STATES = 512
_LAST_BITS_GROUPS = 64
_LAST_BITS_STATES = 4096


@dataclass(frozen=True, eq=False)
class Core:
    """The groups that may deviate in a better answer, those with the least penalty first.

    `group` has shape (C,), the others (C, J): `cost` and `loss` are differences to the picked
    choice, `penalty` is infinite for choices that no better answer takes. The picked choice itself
    has 0 everywhere.
    """

    group: NDArray[np.int64]
    cost: Integers
    loss: NDArray[np.int64]
    penalty: NDArray[np.float64]
    loss_unit: float

    def __len__(self) -> int:
        return len(self.group)


@dataclass(frozen=True, eq=False)
class CoreAnswer:
    """The best selection found, (G,) positions in the table, and how far it may be from the best."""

    picked: NDArray[np.int64]
    gap: float
    complete: bool


def core_of(table: ChoiceTable, relaxation: Relaxation) -> Core:
    """Fix every choice whose penalty shows that no answer better than the picked one takes it."""
    worth = relaxation.multiplier * relaxation.room + relaxation.shortfall + relaxation.rounding
    lines = np.arange(len(relaxation.picked))
    open_ = relaxation.penalty <= worth
    open_ &= np.arange(table.cost.shape[1]) < table.count[:, None]
    open_[lines, relaxation.picked] = False
    nearest = np.where(open_, relaxation.penalty, np.inf).min(axis=1)
    group = np.flatnonzero(open_.any(axis=1))
    group = group[np.argsort(nearest[group], kind="stable")]
    open_[lines, relaxation.picked] = True
    picked = relaxation.picked[group, None]
    loss, unit = as_integers(np.where(open_[group], table.loss[group], 0.0))
    cost = table.cost[group]
    return Core(
        group=group,
        cost=_roomy(cost - np.take_along_axis(cost, picked, 1)),
        loss=loss - np.take_along_axis(loss, picked, 1),
        penalty=np.where(open_[group], relaxation.penalty[group], np.inf),
        loss_unit=unit,
    )


def search_core(core: Core, relaxation: Relaxation, session: SolveSession) -> CoreAnswer:
    """Extend the list of states group by group; proves the best answer unless a limit is hit.

    Costs and losses of the states are integers, so that no rounding decides between two answers;
    penalties are floats and compared with the rounding on the safe side. Once nothing but rounding
    is left between answer and bound, the answer is optimal as far as float64 losses tell, and only
    a bounded effort goes into their last bits.
    """
    search = _Search(core, relaxation)
    limit = session.effort.states
    probed, last_bits = False, 0
    for place in range(len(core)):
        if not search.undecided(place):
            break
        if session.out_of_time():
            search.give_up()
            break
        search.extend(place)
        if len(search.cost) > _PROBE_AT and not probed:
            probed = True
            search.learn(_probe(core, relaxation))
        if search.gap <= relaxation.rounding:
            last_bits += 1
            if last_bits > _LAST_BITS_GROUPS:
                break
            search.keep_most_promising(_LAST_BITS_STATES)
        if limit is not None and len(search.cost) > limit:
            search.keep_most_promising(limit)
    return search.answer()


def _probe(core: Core, relaxation: Relaxation) -> _Search:
    """A quick search along short lists, for a good answer that keeps the long lists in check."""
    search = _Search(core, relaxation)
    for place in range(min(len(core), _PROBE_GROUPS)):
        if not search.undecided(place):
            break
        search.extend(place)
        search.keep_most_promising(_PROBE_STATES)
    return search


class _Search:
    """The current list of states, by rising cost, and the best answer so far.

    Costs and losses are counted from the picked selection, so that `room` is what may be spent.
    """

    def __init__(self, core: Core, relaxation: Relaxation) -> None:
        self._core = core
        self._relaxation = relaxation
        self._room = _reachable_room(core, relaxation.room)
        self._trail = Trail()
        self._best: tuple[Trail, int, int, int] | None = None
        self._best_loss = 0
        self._dropped = math.inf
        deviating = np.where(core.cost != 0, core.penalty, np.inf)
        self.nearest = np.append(deviating.min(axis=1, initial=np.inf), np.inf)
        self.cost: Integers = np.zeros(1, dtype=core.cost.dtype)
        self.loss = np.zeros(1, dtype=np.int64)
        self.penalty = np.zeros(1)

    @property
    def gap(self) -> float:
        """Loss of the best answer less the least loss that the relaxation leaves possible."""
        r = self._relaxation
        return self._best_loss * self._core.loss_unit + r.multiplier * self._room + r.shortfall

    @property
    def allowance(self) -> float:
        """The largest penalty with which a state may still become better than the best answer."""
        return self.gap + self._relaxation.rounding

    def undecided(self, place: int) -> bool:
        """Whether the groups from `place` on may still make a state the better answer."""
        return len(self.cost) > 0 and bool(self.nearest[place] <= self.allowance)

    def learn(self, other: _Search) -> None:
        """Take over the best answer of another search if it is better."""
        if other._best_loss < self._best_loss:
            self._best, self._best_loss = other._best, other._best_loss
            alive = np.flatnonzero(self.penalty <= self.allowance)
            self._keep(alive)

    def extend(self, place: int) -> None:
        """Let the next group take each of its choices in every state; drop what cannot win."""
        core, size = self._core, len(self.cost)
        open_ = np.flatnonzero(core.penalty[place] <= self.allowance)
        penalty = (core.penalty[place, open_, None] + self.penalty).ravel()
        kept = np.flatnonzero(penalty <= self.allowance)
        cost = (core.cost[place, open_, None] + self.cost).ravel()[kept]
        loss = (core.loss[place, open_, None] + self.loss).ravel()[kept]
        order = undominated(cost, loss)
        kept, cost, loss = kept[order], cost[order], loss[order]
        parent, choice = kept % size, open_[kept // size]
        self._improve(cost, loss, parent, choice)
        penalty = penalty[kept]
        alive = np.flatnonzero(penalty + self.nearest[place + 1] <= self.allowance)
        self._trail.append(parent[alive], choice[alive])
        self.cost, self.loss, self.penalty = cost[alive], loss[alive], penalty[alive]

    def keep_most_promising(self, states: int) -> None:
        """Cut the list to the states of least penalty; what is dropped weakens the bound."""
        if len(self.cost) <= states:
            return
        order = np.argsort(self.penalty, kind="stable")
        self._dropped = min(self._dropped, float(self.penalty[order[states]]))
        self._keep(np.sort(order[:states]))

    def give_up(self) -> None:
        """Drop all states; what they might have become weakens the bound."""
        self._dropped = min(self._dropped, float(self.penalty.min()))

    def answer(self) -> CoreAnswer:
        """The best answer, and the gap that dropped states leave, 0 within rounding."""
        picked = self._relaxation.picked.copy()
        if self._best is not None:
            trail, place, parent, choice = self._best
            groups = self._core.group[: place + 1]
            picked[groups[:-1]] = trail.choices(np.array([parent]), place)[0]
            picked[groups[-1]] = choice
        gap = max(self.gap - self._dropped, 0.0)
        return CoreAnswer(picked, gap, complete=gap <= self._relaxation.rounding)

    def _keep(self, states: NDArray[np.int64]) -> None:
        self._trail.keep(states)
        self.cost, self.loss = self.cost[states], self.loss[states]
        self.penalty = self.penalty[states]

    def _improve(
        self,
        cost: Integers,
        loss: NDArray[np.int64],
        parent: NDArray[np.int64],
        choice: NDArray[np.int64],
    ) -> None:
        """Note the best state within the budget if it is a better answer than all before."""
        last = int(np.searchsorted(cost, self._room, side="right")) - 1
        if last >= 0 and loss[last] < self._best_loss:
            self._best_loss = int(loss[last])
            self._best = (self._trail, len(self._trail), int(parent[last]), int(choice[last]))


def _reachable_room(core: Core, room: int) -> int:
    """The room rounded down to what the cost differences can add up to."""
    divisor = math.gcd(*core.cost[np.isfinite(core.penalty)].tolist())
    return room - room % divisor if divisor else room


def _roomy(cost: Integers) -> Integers:
    """Cost differences as Python integers where sums over the groups may leave int64."""
    if cost.dtype != object and float(np.abs(cost).max(axis=1, initial=0).sum()) >= 2.0**62:
        return cost.astype(object)
    return cost
