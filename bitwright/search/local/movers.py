"""All moves of a state and what each adds, kept up to date while moves are made."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bitwright.search.local.moves import Move, Score, State
from bitwright.search.reduction import Integers


class Movers:
    """The moves of a state: of every group alone to each of its rows, and of ties of one side.

    Place r < R is the move to row r, the places behind are those of ties. `loss` (S,) and `units`
    (K, S) are what they add; `owner` (S,) numbers groups first, then ties. Places that break a tie
    or lead nowhere are `closed` (S,).
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.reset()

    def reset(self) -> None:
        """Look at all moves again."""
        tables = self.state.tables
        self._singles = self._look_at(np.arange(len(tables.group)))
        self._of_tie: list[list[Move]] = [[] for _ in range(len(tables.ties))]
        self._look_at_ties(range(len(tables.ties)))

    def take(self, move: Move) -> int:
        """Make a move, look again at those that it changes, and return what it adds to the loss."""
        groups = self.state.affected(move)
        added = self.state.take(move)
        start, ties = self.state.tables.groups.start, self.state.tables.ties
        rows = np.concatenate([np.arange(start[g], start[g + 1]) for g in groups])
        for whole, part in zip(self._singles, self._look_at(rows), strict=True):
            whole[..., rows] = part
        if ties:
            components = set(ties.component[groups].tolist())
            self._look_at_ties(
                t for t, m in enumerate(ties.members) if int(ties.component[m[0]]) in components
            )
        return added

    def keys(self, score: Score, places: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """The score of every place, (S,), or of some, infinite where closed or not permitted."""
        if places is None:
            keys, closed = score(self.loss, self.units), self.closed
        else:
            keys, closed = score(self.loss[places], self.units[:, places]), self.closed[places]
        keys[closed] = np.inf
        return keys

    def best(self, score: Score, places: NDArray[np.int64] | None = None) -> Move | None:
        """The move of least score, of all or of some places, the first of equal ones, if any."""
        keys = self.keys(score, places)
        place = int(keys.argmin())
        if keys[place] == np.inf:
            return None
        return self.move(place if places is None else int(places[place]))

    def shortlist(self, score: Score, count: int) -> NDArray[np.int64]:
        """All places of the `count` groups and ties whose best moves have the least scores."""
        place, least = first_least(self.owner, self.keys(score))
        listed = np.zeros(len(self.owner), dtype=bool)
        listed[self.owner[place[np.argsort(least, kind="stable")[:count]]]] = True
        return np.flatnonzero(listed[self.owner])

    def leading(self, score: Score, count: int) -> list[tuple[float, Move]]:
        """The best move each of the `count` best groups and ties with their scores, best first.

        Of equal ones the first; none are those that are not permitted.
        """
        place, least = first_least(self.owner, self.keys(score))
        order = np.argsort(least, kind="stable")[:count]
        return [(float(least[k]), self.move(int(place[k]))) for k in order if least[k] < np.inf]

    def score_of(self, move: Move, score: Score) -> float:
        """The score of one move as things stand."""
        loss, units = self.state.probe(move)
        return float(score(np.array([loss]), units[:, None])[0])

    def move(self, place: int) -> Move:
        """The move at one place."""
        singles = len(self.state.tables.group)
        if place < singles:
            return ((int(self.state.tables.group[place]), place),)
        return self._tied[place - singles]

    def _look_at(
        self, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Integers, NDArray[np.bool_]]:
        """What going to these rows adds to the loss and the units, and which are closed."""
        state = self.state
        base = state.at[state.tables.group[rows]]
        loss = state.loss[rows] - state.loss[base]
        units = state.units[:, rows] - state.units[:, base]
        return loss, units, (rows == base) | ~state.open_rows(rows)

    def _look_at_ties(self, ties: Iterable[int]) -> None:
        for t in ties:
            self._of_tie[t] = self.state.tie_moves(t)
        self.loss, self.units, self.closed = self._singles
        self.owner = self.state.tables.group
        self._tied = [move for moves in self._of_tie for move in moves]
        if not self._tied:
            return
        probes = [self.state.probe(move) for move in self._tied]
        added = np.array([loss for loss, _ in probes], dtype=np.int64)
        owners = [len(self.state.at) + t for t, moves in enumerate(self._of_tie) for _ in moves]
        self.loss = np.concatenate([self.loss, added])
        self.units = np.column_stack([self.units, *(units for _, units in probes)])
        self.closed = np.concatenate([self.closed, np.zeros(len(added), dtype=bool)])
        self.owner = np.concatenate([self.owner, owners])


def first_least(
    owner: NDArray[np.int64], keys: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Place and value of the least key of every run of equal owners, the first of equal keys."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    least = np.minimum.reduceat(keys, starts)
    hits = np.flatnonzero(keys == np.repeat(least, np.diff(starts, append=len(keys))))
    return hits[np.searchsorted(hits, starts)], least
