"""What moves are counted with: losses and exact budget rows of the groups that tied layers form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem
from bitwright.search.local.side_ties import SideTies, side_ties_of
from bitwright.search.reduction import Groups, Integers, merge_ties
from bitwright.search.rows import Row, budget_rows

_SAFE = 2**61


@dataclass(frozen=True, eq=False)
class Coupling:
    """The pairwise terms of one group of J rows with the O rows of all groups that it meets.

    `loss` has shape (J, O); `units` (K, J, O), or is None where no budgeted cost has such terms.
    """

    rows: NDArray[np.int64]
    loss: NDArray[np.float64]
    units: Integers | None


@dataclass(frozen=True, eq=False)
class MoveTables:
    """A problem over groups of tied layers: R rows, G groups, K budget rows that may be broken.

    `units` (K, R) are exact and lower is better; those of a selection may come to `limits` (K,).
    `room` (K,) is what a limit leaves above the cheapest rows, at least one unit. `inner_loss` (R,)
    are the pairwise terms between layers of one group.
    """

    problem: AllocationProblem
    groups: Groups
    group: NDArray[np.int64]
    units: Integers
    limits: Integers
    room: Integers
    inner_loss: NDArray[np.float64]
    couplings: Mapping[int, Coupling]
    ties: SideTies

    @property
    def separable(self) -> bool:
        """Whether every group may be moved without a look at the others."""
        return not self.couplings and not self.ties

    def losses(self, loss: NDArray[np.float64]) -> NDArray[np.float64]:
        """Losses of the rows, (R,), where those of the choices are `loss`, (M,)."""
        members, first = self.groups.members, self.groups.member_start[:-1]
        summed: NDArray[np.float64] = np.add.reduceat(loss[members], first)
        return summed + self.inner_loss

    def share(self, k: int, units: Integers) -> NDArray[np.float64]:
        """Units of budget row k, (S,), as shares of its room."""
        if units.dtype == object:
            return np.asarray(units / self.room[k], dtype=np.float64)
        shares: NDArray[np.float64] = units / float(self.room[k])
        return shares

    def shares(self, units: Integers) -> NDArray[np.float64]:
        """Units of all budget rows, (K, S), as shares of their rooms."""
        found = np.empty(units.shape)
        for k in range(len(found)):
            found[k] = self.share(k, units[k])
        return found

    def rows_of(self, selection: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of every group, (G,), in a selection that keeps the ties of all sides."""
        layer, row = self._first_layers
        rows: NDArray[np.int64] = row[selection[layer]]
        return rows

    @cached_property
    def _first_layers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first layer of every group, (G,), and the row of each of its choices, (M,)."""
        groups = self.groups
        layer = np.unique(groups.group_of_layer, return_index=True)[1]
        row = np.full(len(self.problem.loss), -1)
        row[groups.members[groups.member_start[:-1]]] = np.arange(len(groups.loss))
        return layer, row


def move_tables(problem: AllocationProblem) -> MoveTables:
    """Tabulate a problem; budget rows that no selection breaks are left out."""
    groups = merge_ties(problem)
    rows = [row for row in budget_rows(problem) if _may_break(problem, row)]
    units = [np.add.reduceat(row.units[groups.members], groups.member_start[:-1]) for row in rows]
    inner_loss, blocks = np.zeros(len(groups.loss)), _Blocks(groups, len(rows))
    for t, term in enumerate(problem.interactions):
        (g, a), (h, b) = (_positions(problem, groups, name) for name in term.layers)
        loss = np.array(term.loss)
        costs = {k: row.pairs[t] for k, row in enumerate(rows) if t in row.pairs}
        if g == h:
            own = slice(groups.start[g], groups.start[g + 1])
            inner_loss[own] += loss[a, b]
            for k, cost in costs.items():
                units[k] = units[k].astype(object)
                units[k][own] += cost[a, b]
        else:
            grid = np.ix_(a, b)
            blocks.add(g, h, loss[grid], {k: cost[grid] for k, cost in costs.items()})
    most = max((_most(problem, row) for row in rows), default=0)
    dtype = np.dtype(np.int64) if most < _SAFE else np.dtype(object)
    stacked = np.array(units, dtype=dtype).reshape(len(rows), len(groups.loss))
    limits = np.array([max(row.limit, -_SAFE) for row in rows], dtype=dtype)
    least = np.minimum.reduceat(stacked, groups.start[:-1], axis=1).sum(axis=1)
    return MoveTables(
        problem=problem,
        groups=groups,
        group=np.repeat(np.arange(len(groups)), np.diff(groups.start)),
        units=stacked,
        limits=limits,
        room=np.maximum(limits - least, 1),
        inner_loss=inner_loss,
        couplings=blocks.couplings(dtype),
        ties=side_ties_of(problem, groups),
    )


def _may_break(problem: AllocationProblem, row: Row) -> bool:
    return _most(problem, row) > row.limit


def _most(problem: AllocationProblem, row: Row) -> int:
    """A number of units that no selection exceeds."""
    largest = np.maximum.reduceat(row.units, problem.choice_start[:-1])
    return int(largest.sum()) + sum(int(table.max()) for table in row.pairs.values())


def _positions(
    problem: AllocationProblem, groups: Groups, layer: str
) -> tuple[int, NDArray[np.int64]]:
    """The group of a layer, and which of its choices the layer takes in every row of the group."""
    i = problem.index[layer]
    g = int(groups.group_of_layer[i])
    first = groups.member_start[groups.start[g] : groups.start[g + 1]]
    return g, groups.members[first + groups.place_in_group[i]] - problem.choice_start[i]


class _Blocks:
    """Pairwise terms collected per pair of groups, seen from both."""

    def __init__(self, groups: Groups, rows: int) -> None:
        self._start, self._rows = groups.start, rows
        self._loss: dict[int, dict[int, NDArray[np.float64]]] = {}
        self._units: dict[int, dict[tuple[int, int], Integers]] = {}

    def add(self, g: int, h: int, loss: NDArray[np.float64], units: Mapping[int, Integers]) -> None:
        for a, b, turned in ((g, h, False), (h, g, True)):
            losses, costs = self._loss.setdefault(a, {}), self._units.setdefault(a, {})
            losses[b] = losses.get(b, 0.0) + (loss.T if turned else loss)
            for k, table in units.items():
                costs[b, k] = costs.get((b, k), 0) + (table.T if turned else table)

    def couplings(self, dtype: np.dtype[np.generic]) -> dict[int, Coupling]:
        return {g: self._coupling(g, dtype) for g in sorted(self._loss)}

    def _coupling(self, g: int, dtype: np.dtype[np.generic]) -> Coupling:
        start, others = self._start, sorted(self._loss[g])
        spans = [np.arange(start[h], start[h + 1]) for h in others]
        place = dict(zip(others, np.cumsum([0, *map(len, spans)]).tolist(), strict=False))
        rows = np.concatenate(spans)
        units = None
        if self._units[g]:
            units = np.zeros((self._rows, start[g + 1] - start[g], len(rows)), dtype=dtype)
            for (h, k), table in self._units[g].items():
                units[k, :, place[h] : place[h] + table.shape[1]] = table
        return Coupling(rows, np.hstack([self._loss[g][h] for h in others]), units)
