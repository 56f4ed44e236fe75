"""Lists of deviations from the relaxation's answer whose penalties stay within an allowance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.protocols import SolveSession
from bitwright.search.general.halves import Half
from bitwright.search.general.landscape import Step
from bitwright.search.one_budget.lists import Trail, undominated
from bitwright.search.reduction import Integers

_MERGED_FROM = 2048


@dataclass(eq=False)
class States:
    """A list of deviations: where it started, its key, and what it adds up to, all (n,) or (n, R)."""

    origin: NDArray[np.int64]
    key: NDArray[np.int64]
    penalty: NDArray[np.float64]
    loss: NDArray[np.int64]
    units: Integers

    def __len__(self) -> int:
        return len(self.key)

    def take(self, kept: NDArray[np.int64]) -> None:
        """Keep some states only, in the order given."""
        for name in ("origin", "key", "penalty", "loss", "units"):
            setattr(self, name, getattr(self, name)[kept])


@dataclass(frozen=True, eq=False)
class DeviationList:
    """The final states of one half, how each came about, and whether none was left out."""

    half: Half
    states: States
    trail: Trail
    complete: bool

    def options(self, state: int) -> dict[int, int]:
        """The option that every variable of the half takes in a state."""
        taken = self.trail.choices(np.array([state]))[0]
        return {
            step.variable: int(step.option[choice])
            for step, choice in zip(self.half.steps, taken.tolist(), strict=True)
        }


def deviations(
    half: Half, room: Integers, allowance: float, limit: int, session: SolveSession
) -> DeviationList:
    """All deviations of a half within the allowance, but for those that another always replaces.

    `room` (R,) says how many rows there are and which integers count them. Longer lists than `limit`
    are cut to the states of least penalty; where time runs out, none are left. With one row or none, states
    that another matches in units and loss are dropped; with more rows, those of equal units.
    """
    size, rows = len(half.origin), len(room)
    states = States(
        origin=half.origin,
        key=half.origin.copy(),
        penalty=half.penalty,
        loss=np.zeros(size, dtype=np.int64),
        units=np.zeros((size, rows), dtype=room.dtype),
    )
    trail, complete, keys = Trail(), True, half.keys
    for step in half.steps:
        parent, choice = _extended(states, step, allowance)
        keys = keys if step.next_key is None else step.keys_after
        if rows <= 1:
            kept = _undominated(states, keys)
        elif len(states) >= _MERGED_FROM:
            kept = _distinct(states, keys)
        else:
            kept = np.arange(len(states))
        if len(kept) > limit:
            complete = False
            order = np.argsort(states.penalty[kept], kind="stable")
            kept = np.sort(kept[order[:limit]])
        if len(kept) < len(states):
            states.take(kept)
            parent, choice = parent[kept], choice[kept]
        trail.append(parent, choice)
        if session.out_of_time():
            states.take(np.empty(0, dtype=np.int64))
            return DeviationList(half, states, trail, complete=False)
    return DeviationList(half, states, trail, complete)


def _extended(
    states: States, step: Step, allowance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Let every state take every option within the allowance; returns parents and choices."""
    size = len(states)
    if len(step.penalty) == 1:
        penalty = (step.penalty[0][:, None] + states.penalty).ravel()
    else:
        penalty = (step.penalty[states.key].T + states.penalty).ravel()
    kept = np.flatnonzero(penalty <= allowance)
    parent, choice = kept % size, kept // size
    key = states.key[parent] if len(step.loss) > 1 else np.zeros(len(kept), dtype=np.int64)
    states.loss = states.loss[parent] + step.loss[key, choice]
    at = key if len(step.units) > 1 else 0
    states.units = states.units[parent] + step.units[at, choice]
    states.origin = states.origin[parent]
    states.penalty = penalty[kept]
    states.key = states.key[parent] if step.next_key is None else step.next_key[key, choice]
    return parent, choice


def _undominated(states: States, keys: int) -> NDArray[np.int64]:
    """Of states with the same origin and key, those that no other matches in units and loss."""
    none = np.zeros(len(states), dtype=np.int64)
    units = states.units[:, 0] if states.units.shape[1] else none
    group = states.origin * keys + states.key
    if len(group) == 0 or (group == group[0]).all():
        return undominated(units, states.loss)
    order = np.argsort(states.loss, kind="stable")
    order = order[np.argsort(units[order], kind="stable")]
    order = order[np.argsort(group[order], kind="stable")]
    group, loss = group[order], states.loss[order]
    least = _running_least(group, loss)
    kept = np.ones(len(order), dtype=bool)
    kept[1:] = (group[1:] != group[:-1]) | (loss[1:] < least[:-1])
    return order[kept]


def _running_least(group: NDArray[np.int64], loss: NDArray[np.int64]) -> NDArray[np.int64]:
    """The least loss so far within each group, groups being runs; in log2(longest run) passes."""
    least = loss.copy()
    starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    longest = int(np.diff(np.append(starts, len(group))).max())
    reach = 1
    while reach < longest:
        same = group[reach:] == group[:-reach]
        least[reach:] = np.where(same, np.minimum(least[reach:], least[:-reach]), least[reach:])
        reach *= 2
    return least


def _distinct(states: States, keys: int) -> NDArray[np.int64]:
    """Of states with equal origin, key and units the one of least loss, where one integer tells."""
    everything = np.arange(len(states))
    if states.units.dtype == object:
        return everything
    least = states.units.min(axis=0)
    widths = [int(w) + 1 for w in states.units.max(axis=0) - least]
    span = int(states.origin.max()) * keys + keys
    for width in widths:
        span *= width
    if span >= 2**62:
        return everything
    code = states.origin * keys + states.key
    for k, width in enumerate(widths):
        code = code * width + (states.units[:, k] - least[k])
    order = np.argsort(states.loss, kind="stable")
    _, first = np.unique(code[order], return_index=True)
    return np.sort(order[first])
