"""Moves from one selection to another, counted exactly: the state that greedy and refinement share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bitwright.search.local.move_tables import MoveTables
from bitwright.search.one_budget.lists import loss_exponent
from bitwright.search.reduction import Integers

Move = tuple[tuple[int, int], ...]
"""Groups and the rows that they go to, together."""

Score = Callable[[NDArray[np.int64], Integers], NDArray[np.float64]]
"""Says how good moves are, lower is better and infinite not permitted, from what they add to the
loss (S,), in the state's unit, and to every budget row (K, S)."""

_PRICES = 4.0 ** np.arange(-3, 4)


class State:
    """A selection in the making: the row of every group, and by how much budget rows are exceeded.

    Losses are integers of a common power of two (see `lists.loss_exponent`) and units are exact, so
    that no rounding decides between moves and none piles up. `excess` (K,) is negative where budget
    is left; a selection is feasible where none is positive.
    """

    def __init__(self, tables: MoveTables, rows: NDArray[np.int64]) -> None:
        self.tables = tables
        self.at = rows.copy()
        self.price_by(tables.problem.loss)

    def price_by(self, loss: NDArray[np.float64]) -> None:
        """Take these losses of the choices, (M,), from now on; pairwise terms stay as they are."""
        own, start = self.tables.losses(loss), self.tables.groups.start
        pairs = self.tables.couplings
        largest = float(np.maximum.reduceat(np.abs(own), start[:-1]).sum())
        largest += sum(float(np.abs(c.loss).max(axis=0).sum()) for c in pairs.values())
        exponent = loss_exponent(largest)
        self._own = np.rint(np.ldexp(own, exponent)).astype(np.int64)
        self.paired = {
            g: np.rint(np.ldexp(c.loss, exponent)).astype(np.int64) for g, c in pairs.items()
        }
        self.place(self.at)

    def place(self, rows: NDArray[np.int64]) -> None:
        """Take the row of every group, (G,), that keeps the ties."""
        tables, self.at = self.tables, rows.copy()
        self.shared = tables.ties.shared_bits(rows)
        self.loss = self._own.copy()
        self.units = tables.units.copy() if tables.couplings else tables.units
        for g, coupling in tables.couplings.items():
            own = rows[g] - tables.groups.start[g]
            self.loss[coupling.rows] += self.paired[g][own]
            if coupling.units is not None:
                self.units[:, coupling.rows] += coupling.units[:, own]
        single = tables.units[:, rows].sum(axis=1)
        # Every pairwise term was added to the rows of both its groups.
        pairs = (self.units[:, rows].sum(axis=1) - single) // 2
        self.excess = single + pairs - tables.limits

    @property
    def feasible(self) -> bool:
        """Whether every budget holds."""
        return bool((self.excess <= 0).all())

    def selection(self) -> NDArray[np.int64]:
        """The selection of the problem, (N,)."""
        return self.tables.groups.selection(self.at)

    def after(self, move: Move) -> NDArray[np.int64]:
        """The selection of the problem, (N,), that a move would lead to."""
        rows = self.at.copy()
        for g, row in move:
            rows[g] = row
        return self.tables.groups.selection(rows)

    def take(self, move: Move) -> int:
        """Make a move and return what it adds to the loss."""
        added = 0
        for g, row in move:
            old, self.at[g] = int(self.at[g]), row
            added += int(self.loss[row]) - int(self.loss[old])
            self.excess += self.units[:, row] - self.units[:, old]
            if g in self.paired:
                self._tell_neighbours(g, old, row)
            for s, t in enumerate(self.tables.ties.tie[:, g].tolist()):
                if t >= 0:
                    self.shared[t] = self.tables.ties.bits[s, row]
        return added

    def back(self, move: Move) -> Move:
        """The move that undoes this one."""
        return tuple((g, int(self.at[g])) for g, _ in move)

    def probe(self, move: Move) -> tuple[int, Integers]:
        """What a move would add to the loss and to every budget row, (K,)."""
        before, back = self.excess.copy(), self.back(move)
        loss = self.take(move)
        units = self.excess - before
        self.take(back)
        return loss, units

    def _tell_neighbours(self, g: int, old: int, new: int) -> None:
        coupling, start = self.tables.couplings[g], int(self.tables.groups.start[g])
        table = self.paired[g]
        self.loss[coupling.rows] += table[new - start] - table[old - start]
        if coupling.units is not None:
            change = coupling.units[:, new - start] - coupling.units[:, old - start]
            self.units[:, coupling.rows] += change

    def open_rows(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each row agrees with the bits that its group's ties have come to."""
        ties, group = self.tables.ties, self.tables.group[rows]
        agrees = np.ones(len(rows), dtype=bool)
        if ties:
            for s in range(2):
                tie = ties.tie[s, group]
                agrees &= (tie < 0) | (ties.bits[s, rows] == self.shared[tie])
        return agrees

    def tie_moves(self, tie: int) -> list[Move]:
        """Moves that set a tie to other bits; its groups follow, to the rows worth their price.

        A group goes to the row of least loss + price x cost, the cost being the sum of its shares of
        the budget rows: one move for each of some prices, from nothing to cost alone.
        """
        ties, moves = self.tables.ties, set()
        for bits in ties.offered[tie]:
            if bits == self.shared[tie]:
                continue
            changed = ties.dragged(self.shared, self.loss, tie, bits)
            if changed is not None:
                moves.update(self._priced(ties.followers(self.shared, changed)))
        return sorted(moves)

    def _priced(self, followers: dict[int, NDArray[np.int64]]) -> list[Move]:
        loss = [self.loss[rows].astype(np.float64) for rows in followers.values()]
        cost = [self.tables.shares(self.units[:, r]).sum(axis=0) for r in followers.values()]
        slopes = [
            (x[np.argmin(c)] - x.min()) / (c[np.argmin(x)] - c.min())
            for x, c in zip(loss, cost, strict=True)
            if c[np.argmin(x)] > c.min()
        ]
        prices = np.median(slopes) * _PRICES if slopes else np.empty(0)
        picks = []
        for rows, x, c in zip(followers.values(), loss, cost, strict=True):
            priced = np.argmin(x + prices[:, None] * c, axis=1)
            ends = [np.lexsort((c, x))[0], np.lexsort((x, c))[0]]
            picks.append(rows[np.concatenate([priced, ends])])
        return [
            tuple((g, row) for g, row in zip(followers, line, strict=True))
            for line in np.unique(np.stack(picks, axis=1), axis=0).tolist()
        ]

    def affected(self, move: Move) -> list[int]:
        """The groups whose own moves look different once a move is made."""
        tables, found = self.tables, {g for g, _ in move}
        for g in tuple(found):
            if g in tables.couplings:
                found.update(tables.group[tables.couplings[g].rows].tolist())
        if tables.ties:
            tied = np.isin(tables.ties.component, tables.ties.component[list(found)])
            found.update(np.flatnonzero(tied).tolist())
        return sorted(found)
