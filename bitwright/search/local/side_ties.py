"""Ties of one side seen by moves: which rows are open, and what a change of shared bits drags along."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem
from bitwright.search.reduction import Groups, connected

SIDES = ("weight", "activation")


@dataclass(frozen=True, eq=False)
class SideTies:
    """Ties of one side between different groups; those of a side that share a group are one tie.

    `bits` (2, R) are the weight and activation bits of every row. `tie` (2, G) is the tie that binds
    a group on each side, -1 where none does. Tie t is one of side `side[t]`, its groups are
    `members[t]`, which all have rows of the bits `offered[t]`. `component` (G,) numbers the sets of
    groups that ties link.
    """

    bits: NDArray[np.int64]
    tie: NDArray[np.int64]
    side: tuple[int, ...]
    members: tuple[NDArray[np.int64], ...]
    offered: tuple[tuple[int, ...], ...]
    component: NDArray[np.int64]
    start: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.side)

    def shared_bits(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bits that every tie has come to, (T,), where the groups take the rows `at`, (G,)."""
        first = [int(members[0]) for members in self.members]
        return self.bits[list(self.side), at[first]] if first else np.empty(0, dtype=np.int64)

    def dragged(
        self, shared: NDArray[np.int64], loss: NDArray[np.int64], tie: int, bits: int
    ) -> dict[int, int] | None:
        """All ties that have to change when one is set to these bits, and to what; None if none can.

        A group that offers the new bits only together with other bits on its other side drags the
        tie of that side along, to the bits of its row of least loss.
        """
        changed, waiting = {tie: bits}, [tie]
        while waiting:
            for g in self.members[waiting.pop()].tolist():
                rows = self._rows(g, changed)
                if not len(rows):
                    return None
                kept = {t: int(shared[t]) for t in self._of(g)} | changed
                if len(self._rows(g, kept)):
                    continue
                row = int(rows[np.argmin(loss[rows])])
                for t in self._of(g):
                    if t not in changed:
                        changed[t] = int(self.bits[self.side[t], row])
                        waiting.append(t)
        return changed

    def followers(
        self, shared: NDArray[np.int64], changed: dict[int, int]
    ) -> dict[int, NDArray[np.int64]]:
        """The rows that are open to each group of the changed ties, once they are changed."""
        after = dict(enumerate(shared.tolist())) | changed
        groups = np.unique(np.concatenate([self.members[t] for t in changed]))
        return {g: self._rows(g, after) for g in groups.tolist()}

    def _of(self, group: int) -> list[int]:
        return [int(t) for t in self.tie[:, group] if t >= 0]

    def _rows(self, group: int, wanted: dict[int, int]) -> NDArray[np.int64]:
        """Rows of a group with the wanted bits of its ties, and offered ones where none are wanted."""
        rows = np.arange(self.start[group], self.start[group + 1])
        for t in self._of(group):
            allowed = (wanted[t],) if t in wanted else self.offered[t]
            rows = rows[np.isin(self.bits[self.side[t], rows], allowed)]
        return rows


def side_ties_of(problem: AllocationProblem, groups: Groups) -> SideTies:
    """Collect the ties of one side; one that binds a single group binds nothing."""
    first = groups.members[groups.member_start[:-1]]
    bits = np.stack([problem.weight_bits[first], problem.activation_bits[first]])
    tie = np.full((2, len(groups)), -1)
    side: list[int] = []
    members: list[NDArray[np.int64]] = []
    for s, name in enumerate(SIDES):
        linked = [
            sorted({int(groups.group_of_layer[problem.index[n]]) for n in t.layers})
            for t in problem.ties
            if t.side == name
        ]
        label = connected(len(groups), linked) if linked else np.arange(len(groups))
        for number in np.flatnonzero(np.bincount(label) > 1):
            members.append(np.flatnonzero(label == number))
            tie[s, members[-1]] = len(side)
            side.append(s)
    offered = [
        set.intersection(
            *(set(bits[s, groups.start[g] : groups.start[g + 1]].tolist()) for g in groups_of)
        )
        for s, groups_of in zip(side, members, strict=True)
    ]
    links = [m.tolist() for m in members]
    return SideTies(
        bits=bits,
        tie=tie,
        side=tuple(side),
        members=tuple(members),
        offered=tuple(tuple(sorted(o)) for o in offered),
        component=connected(len(groups), links) if links else np.arange(len(groups)),
        start=groups.start,
    )
