"""The configurations that a bound leaves open, gone through one group of layers after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.protocols import SolveSession
from bitwright.search.integer_program.bound import Bound
from bitwright.search.integer_program.form import Form
from bitwright.search.one_budget.lists import Trail
from bitwright.search.reduction import Integers

MOST_STATES = 5_000_000


def open_rows(
    form: Form, bound: Bound, level: float, session: SolveSession, most: int = MOST_STATES
) -> NDArray[np.int64] | None:
    """All configurations that the bound does not put above a loss of `level`: rows, (S, G).

    They meet every budget and tie exactly. None where a step looks at more than `most`
    partial ones, or at more than `effort.states`, or where the time is up.
    """
    most = min(session.effort.states or most, most)
    walk = _Walk(form, bound, level - bound.value + bound.rounding)
    states, trail = walk.start(), Trail()
    for place in range(len(walk.order)):
        if session.out_of_time() or len(states.penalty) * len(walk.rows[place]) > most:
            return None
        states, state, choice = walk.extend(states, place)
        trail.append(state, choice)
    chosen = trail.choices(np.arange(len(states.penalty)))
    rows = np.empty_like(chosen)
    for place, group in enumerate(walk.order):
        rows[:, group] = walk.rows[place][chosen[:, place]]
    return rows


@dataclass(frozen=True, eq=False)
class _States:
    """Partial configurations: penalty (S,), units spent per limit, rows of groups still asked for."""

    penalty: NDArray[np.float64]
    spent: tuple[Integers, ...]
    taken: dict[int, NDArray[np.int64]]

    def at(self, states: NDArray[Any]) -> _States:
        """Some of them, or each several times."""
        return _States(
            self.penalty[states],
            tuple(units[states] for units in self.spent),
            {group: rows[states] for group, rows in self.taken.items()},
        )


class _Walk:
    """The order of the groups, the rows that each may take, and what links them."""

    def __init__(self, form: Form, bound: Bound, allowed: float) -> None:
        self._form, self._bound, self._allowed = form, bound, allowed
        self._few = [
            a + np.flatnonzero(bound.penalty[a:b] <= allowed) for a, b in pairwise(form.start)
        ]
        # Groups whose second choice is dear come first: they keep the lists short.
        second = [
            np.partition(bound.penalty[few], 1)[1] if len(few) > 1 else np.inf
            for few in self._few[: len(form.groups)]
        ]
        self.order = np.argsort(-np.array(second), kind="stable").tolist()
        self.rows = [self._few[group] for group in self.order]
        self._place = {group: k for k, group in enumerate(self.order)}
        self._last_use: dict[int, int] = {}
        for linked in [*(list(tie) for tie in form.side_ties), *(j.groups for j in form.joints)]:
            last = max(self._place[g] for g in linked)
            for group in linked:
                self._last_use[group] = max(self._last_use.get(group, -1), last)
        self._rest = [self._units_to_come(limit.units) for limit in form.limits]

    def _units_to_come(self, units: Integers) -> list[tuple[int, int]]:
        """The fewest and the most units of a limit that the groups behind each place may take."""
        places = [
            *(self._place[g] for g in range(len(self.order))),
            *(max(self._place[g] for g in joint.groups) for joint in self._form.joints),
        ]
        ends = [[0, 0] for _ in range(len(self.order) + 1)]
        for place, few in zip(places, self._few, strict=True):
            if len(few):
                ends[place][0] += int(units[few].min())
                ends[place][1] += int(units[few].max())
        sums = np.cumsum(np.array(ends[::-1], dtype=object), axis=0)[::-1]
        return [(fewest, most) for fewest, most in sums[1:].tolist()]

    def start(self) -> _States:
        """The one state before any group."""
        spent = tuple(limit.units[:1] * 0 for limit in self._form.limits)
        return _States(np.zeros(1), spent, {})

    def extend(
        self, states: _States, place: int
    ) -> tuple[_States, NDArray[np.int64], NDArray[np.int64]]:
        """States with the rows of one more group; of each the state it extends and the row's place."""
        form, group, rows = self._form, self.order[place], self.rows[place]
        penalty = states.penalty[:, None] + self._bound.penalty[rows]
        state, choice = np.nonzero(penalty <= self._allowed)
        agrees = np.ones(len(state), dtype=bool)
        for tie in (tie for tie in form.side_ties if group in tie):
            bits = tie[group][rows[choice] - form.start[group]]
            for other in (g for g in tie if g in states.taken):
                agrees &= tie[other][states.taken[other][state] - form.start[other]] == bits
        state, choice = state[agrees], choice[agrees]
        after = self._added(states.at(state), rows[choice])
        taken = {**after.taken, group: rows[choice]}
        for joint in form.joints:
            if group in joint.groups and set(joint.groups) <= taken.keys():
                a, b = (taken[g] - form.start[g] for g in joint.groups)
                after = self._added(after, joint.start + a * joint.shape[1] + b)
        kept = self._keeps(after, place)
        taken = {g: r for g, r in taken.items() if self._last_use.get(g, -1) > place}
        return replace(after, taken=taken).at(kept), state[kept], choice[kept]

    def _added(self, states: _States, variables: NDArray[np.int64]) -> _States:
        """The states with one more variable each."""
        spent = tuple(
            units + limit.units[variables]
            for units, limit in zip(states.spent, self._form.limits, strict=True)
        )
        return replace(states, penalty=states.penalty + self._bound.penalty[variables], spent=spent)

    def _keeps(self, states: _States, place: int) -> NDArray[np.bool_]:
        """The states that may still come to a configuration asked for.

        What of a budget stays unused costs its price beside the penalties.
        """
        kept = np.ones(len(states.penalty), dtype=bool)
        total = states.penalty
        for k, limit in enumerate(self._form.limits):
            fewest, most = self._rest[k][place]
            kept &= np.asarray(states.spent[k] <= limit.room - fewest, dtype=bool)
            if price := float(self._bound.prices[k]):
                unused = np.asarray(limit.room - most - states.spent[k], dtype=np.float64)
                total = total + price * np.maximum(unused, 0.0)
        return kept & (total <= self._allowed)
