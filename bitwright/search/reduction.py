"""Exact preprocessing: tied layers become one group, and dominated choices are dropped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import InputError
from bitwright.problems.precision import FLOAT_BITS
from bitwright.problems.problem import AllocationProblem

Integers = NDArray[Any]
"""Exact integers: int64 where no sum can overflow, else Python integers in an object array."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Layers tied on all sides, merged: one row per choice that all layers of a group share.

    Group g owns the rows `start[g]` up to `start[g + 1]`; row r stands for the choices
    `members[member_start[r]:member_start[r + 1]]` of the problem, one per layer of the group in the
    order of the layers, and holds the sums of their losses and of their costs in exact units. By
    `rounding` at most a sum over all groups is off, for that of the losses or for a row left out.
    """

    start: NDArray[np.int64]
    loss: NDArray[np.float64]
    costs: Mapping[str, Integers]
    members: NDArray[np.int64]
    member_start: NDArray[np.int64]
    group_of_layer: NDArray[np.int64]
    place_in_group: NDArray[np.int64]
    rounding: float = 0.0

    def __post_init__(self) -> None:
        for array in (self.start, self.loss, *self.costs.values()):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.start) - 1

    def least_loss(self) -> NDArray[np.int64]:
        """The row of least loss of every group, the first of equal ones, shape (G,)."""
        counts = np.diff(self.start)
        least = np.repeat(np.minimum.reduceat(self.loss, self.start[:-1]), counts)
        rows = np.flatnonzero(self.loss == least)
        group = np.repeat(np.arange(len(self)), counts)[rows]
        return rows[np.flatnonzero(np.diff(group, prepend=-1))]

    def selection(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The selections of the problem for one row per group: shape (..., G) gives (..., N)."""
        if len(self) == len(self.group_of_layer):
            return rows  # nothing is merged: every choice is a row
        first = self.member_start[rows[..., self.group_of_layer]]
        choices: NDArray[np.int64] = self.members[first + self.place_in_group]
        return choices


def merge_ties(problem: AllocationProblem) -> Groups:
    """Merge the layers tied on all sides, through chains of ties too; other ties are left alone.

    Done once for a problem and its twins under other budgets. Raises `InputError` where a chain of
    ties leaves no choice in common.
    """
    return problem.once(_merged)


def _merged(problem: AllocationProblem) -> Groups:
    ties = [
        [problem.index[name] for name in tie.layers] for tie in problem.ties if tie.side == "all"
    ]
    if not ties:
        return _as_they_are(problem)
    n = len(problem)
    layer = np.repeat(np.arange(n), np.diff(problem.choice_start))
    group_of_layer = connected(n, ties)
    members = _shared_choices(problem, group_of_layer[layer])
    sizes = np.bincount(group_of_layer)
    rows = np.bincount(group_of_layer[layer[members]], minlength=len(sizes)) // sizes
    if not rows.all():
        lost = np.flatnonzero(group_of_layer == np.argmin(rows))
        raise InputError(f"tied layers {[problem.layers[i] for i in lost]} have no common choice")
    member_start = np.concatenate([[0], np.cumsum(np.repeat(sizes, rows))])
    loss, rounding = summed_losses(problem.loss[members], member_start)
    return Groups(
        start=np.concatenate([[0], np.cumsum(rows)]),
        loss=loss,
        costs={
            name: np.add.reduceat(column.units[members], member_start[:-1])
            for name, column in problem.costs.items()
        },
        members=members,
        member_start=member_start,
        group_of_layer=group_of_layer,
        place_in_group=_places(group_of_layer, sizes),
        rounding=rounding,
    )


def _as_they_are(problem: AllocationProblem) -> Groups:
    """Every layer a group of its own, every choice a row."""
    layers, bounds = np.arange(len(problem)), np.arange(len(problem.loss) + 1)
    return Groups(
        start=problem.choice_start,
        loss=problem.loss,
        costs={name: column.units for name, column in problem.costs.items()},
        members=bounds[:-1],
        member_start=bounds,
        group_of_layer=layers,
        place_in_group=np.zeros(len(layers), dtype=np.int64),
    )


def connected(count: int, links: list[list[int]]) -> NDArray[np.int64]:
    """Number the connected sets of `count` things by their first member, shape (count,)."""
    root = list(range(count))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for first, *others in links:
        for other in others:
            a, b = find(first), find(other)
            root[max(a, b)] = min(a, b)
    return np.unique([find(i) for i in range(count)], return_inverse=True)[1]


def precision_keys(problem: AllocationProblem) -> NDArray[np.int64]:
    """One integer per choice, equal exactly where the precisions are, shape (M,)."""
    variants = {v: i for i, v in enumerate(dict.fromkeys(problem.variants))}
    variant = np.array([variants[v] for v in problem.variants], dtype=np.int64)
    width = FLOAT_BITS + 1
    return (variant * width + problem.weight_bits) * width + problem.activation_bits


def _shared_choices(problem: AllocationProblem, group: NDArray[np.int64]) -> NDArray[np.int64]:
    """The choices whose precision every layer of their group has, ordered by group and row.

    Rows keep the order of the group's first layer. A layer lists a precision once, so that a
    precision is shared by all exactly when it occurs as often as the group has layers.
    """
    keys = precision_keys(problem)
    _, first, row, count = np.unique(
        group * (keys.max() + 1) + keys, return_index=True, return_inverse=True, return_counts=True
    )
    layers = np.zeros(group.max() + 1, dtype=np.int64)
    np.add.at(layers, group[problem.choice_start[:-1]], 1)
    kept = np.flatnonzero(count[row] == layers[group])
    return kept[np.lexsort((kept, first[row[kept]]))]


def _places(group_of_layer: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many layers of the same group stand before each layer, shape (N,)."""
    order = np.argsort(group_of_layer, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return places


def summed_losses(
    loss: NDArray[np.float64], start: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float]:
    """Correctly rounded sums of the pieces between the starts, and how far all may be off together."""
    sums, sizes = loss[start[:-1]], np.diff(start)
    pairs = start[:-1][sizes == 2]
    sums[sizes == 2] = loss[pairs] + loss[pairs + 1]
    errors = np.zeros_like(sums)
    errors[sizes == 2] = _errors_of_pairs(loss[pairs], loss[pairs + 1])
    for row in np.flatnonzero(sizes > 2):
        pieces = loss[start[row] : start[row + 1]].tolist()
        sums[row] = math.fsum(pieces)
        errors[row] = math.fsum([*pieces, -sums[row]])
    return sums, float(np.abs(errors).sum())


def _errors_of_pairs(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """What rounding takes from a + b, exactly.

    .. [Knuth] Knuth: The Art of Computer Programming, volume 2, section 4.2.2, theorem B.
    """
    total = a + b
    b_kept = total - a
    return np.asarray((a - (total - b_kept)) + (b - b_kept))


@dataclass(frozen=True, eq=False)
class ChoiceTable:
    """What the rows of all groups take of one cost, and lose; all arrays but `start` have shape (M,).

    Group g owns the rows `start[g]` up to `start[g + 1]`. `cost` counts exact units above the group's
    cheapest row, whose sum is `base`; `row` is the row of `Groups`, and `rounding` that of theirs.
    """

    start: NDArray[np.int64]
    cost: Integers
    loss: NDArray[np.float64]
    row: NDArray[np.int64]
    base: int
    rounding: float

    def __len__(self) -> int:
        return len(self.start) - 1

    def within(self, room: int) -> ChoiceTable:
        """The table without the rows that alone cost more than `room`, which is not negative."""
        fits = np.asarray(self.cost <= room, dtype=bool)
        return self if fits.all() else self._kept(np.flatnonzero(fits))

    def undominated(self) -> ChoiceTable:
        """The rows of every group that no other matches in both, by rising cost, so by falling loss.

        Of rows equal in both the first is kept. O(M log J), groups of one size at a time.
        """
        parts = []
        for rows in _rows_by_size(self.start):
            order = np.lexsort((self.loss[rows], self.cost[rows]), axis=1)
            ordered = np.take_along_axis(rows, order, 1)
            loss = self.loss[ordered]
            kept = np.ones(ordered.shape, dtype=bool)
            kept[:, 1:] = loss[:, 1:] < np.minimum.accumulate(loss, axis=1)[:, :-1]
            parts.append(ordered[kept])
        if len(parts) == 1:
            return self._kept(parts[0])
        kept_rows = np.concatenate(parts)
        group = np.searchsorted(self.start, kept_rows, side="right")
        return self._kept(kept_rows[np.argsort(group, kind="stable")])

    def _kept(self, rows: NDArray[np.int64]) -> ChoiceTable:
        """The table of some rows, by group, with one or more of every group."""
        group = np.searchsorted(self.start, rows, side="right") - 1
        start = np.searchsorted(group, np.arange(len(self.start)))
        cost = _narrow(self.cost[rows], start)
        return ChoiceTable(start, cost, self.loss[rows], self.row[rows], self.base, self.rounding)


def priced(groups: Groups, cost: str) -> ChoiceTable:
    """The rows of all groups in their order, priced in one cost."""
    units, start = groups.costs[cost], groups.start
    least = np.minimum.reduceat(units, start[:-1])
    above = _narrow(units - np.repeat(least, start[1:] - start[:-1]), start)
    row, base = np.arange(len(units)), int(least.sum())
    return ChoiceTable(start, above, groups.loss, row, base, groups.rounding)


def _rows_by_size(start: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows of the groups of each size, shape (groups of the size, size)."""
    sizes = np.diff(start)
    for size in np.unique(sizes):
        yield start[:-1][sizes == size, None] + np.arange(size)


def _narrow(cost: Integers, start: NDArray[np.int64]) -> Integers:
    """The same integers as int64 where the dearest of every group add up safely."""
    if cost.dtype == object and int(np.maximum.reduceat(cost, start[:-1]).sum()) < 2**62:
        return cost.astype(np.int64)
    return cost
