"""Moves that gain together though none of them does alone: pairs, coupled pairs, and chains."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bitwright.search.local.movers import Movers
from bitwright.search.local.moves import Move, Score, State
from bitwright.search.local.scores import Gain, Relief
from bitwright.search.reduction import Integers

_FAILURES = 3000
"""Gains without a partner, one after the other, that end a round: fewer than a thousand groups of
16 choices have, so that there every pair is looked at."""

_TRIALS = 64
_PLACES_TRIED = 200_000
"""Chains that are tried, and a bound on trials times moves: every trial looks at all moves."""


def exchange(movers: Movers, stop: Callable[[], bool]) -> bool:
    """Take pairs of a move that gains but does not fit and a partner that makes it fit.

    A round looks at the most promising gains first, for each at all partners of groups or ties that
    the round has not moved; it ends after many in a row have found none. Returns whether one did.
    """
    gain, partners = Gain(movers.state), Partners(movers)
    gaining = np.flatnonzero((movers.loss < 0) & ~movers.closed)
    least = partners.least_loss(movers.units[:, gaining] + movers.state.excess[:, None])
    net = movers.loss[gaining] + least
    order = np.flatnonzero(net < 0)
    found, failures = False, 0
    for k in order[np.argsort(net[order], kind="stable")].tolist():
        if stop() or failures > _FAILURES:
            break
        place = int(gaining[k])
        if not partners.free[movers.owner[place]]:
            continue
        move = movers.move(place)
        need = movers.units[:, place] + movers.state.excess
        for other in partners.fitting(need, float(least[k]), -float(movers.loss[place])):
            both = move + movers.move(other)
            if _apart(both) and movers.score_of(both, gain) < np.inf:
                movers.take(both)
                found, failures = True, 0
                partners.free[movers.owner[[place, other]]] = False
                break
        else:
            failures += 1
        # What links groups makes a move change what others add, and their places.
        if found and not movers.state.tables.separable:
            break
    return found


def matched(movers: Movers) -> list[Move]:
    """Moves that gain but do not fit, each with its partner of least loss, by what both add."""
    partners, found = Partners(movers), []
    too_dear = (movers.units > -movers.state.excess[:, None]).any(axis=0)
    for place in np.flatnonzero((movers.loss < 0) & too_dear & ~movers.closed).tolist():
        move, need = movers.move(place), movers.units[:, place] + movers.state.excess
        for other in partners.fitting(need, -np.inf, np.inf):
            both = move + movers.move(other)
            if _apart(both) and (movers.state.excess + movers.state.probe(both)[1] <= 0).all():
                found.append((int(movers.loss[place] + movers.loss[other]), both))
                break
    return [both for _, both in sorted(found)]


def _apart(move: Move) -> bool:
    """Whether no group is moved twice."""
    return len({g for g, _ in move}) == len(move)


class Partners:
    """The moves that save in some budget row, by rising loss; `free` tells which owners may move."""

    def __init__(self, movers: Movers) -> None:
        places = np.flatnonzero((movers.units < 0).any(axis=0) & ~movers.closed)
        self._places = places[np.argsort(movers.loss[places], kind="stable")]
        self._loss = movers.loss[self._places].astype(np.float64)
        self._units = movers.units[:, self._places]
        self._owner = movers.owner[self._places]
        self.free = np.ones(int(movers.owner.max()) + 1, dtype=bool)

    def least_loss(self, needs: Integers) -> NDArray[np.float64]:
        """No partner that saves all of what is needed, (K, U), has a loss below this, (U,)."""
        bound = np.full(needs.shape[1], -np.inf)
        for need, units in zip(needs, self._units, strict=True):
            order = np.argsort(-units, kind="stable")
            least = np.minimum.accumulate(self._loss[order][::-1])[::-1]
            place = np.searchsorted(-units[order], need)
            bound = np.maximum(bound, np.append(least, np.inf)[place])
        return bound

    def fitting(self, need: Integers, least: float, below: float) -> list[int]:
        """The places of free partners that save what is needed, (K,), from one loss to another."""
        near = slice(*np.searchsorted(self._loss, [least, below]).tolist())
        fit = self.free[self._owner[near]]
        for needed, units in zip(need, self._units, strict=True):
            fit &= units[near] <= -needed
        places: list[int] = self._places[near][fit].tolist()
        return places


def move_coupled(state: State) -> bool:
    """Take moves of two groups with a pairwise term between them that gain together and fit.

    Returns whether there was one.
    """
    found = False
    for g in state.tables.couplings:
        while (both := _coupled_pair(state, g)) is not None:
            state.take(both)
            found = True
    return found


def _coupled_pair(state: State, g: int) -> Move | None:
    """The pair of moves of a group and one of its neighbours that gains most, if one gains and fits."""
    tables, coupling = state.tables, state.tables.couplings[g]
    own = np.arange(tables.groups.start[g], tables.groups.start[g + 1])
    rows, here = coupling.rows, int(state.at[g] - own[0])
    base = state.at[tables.group[rows]]
    there = np.searchsorted(rows, base)
    loss = _together(state.paired[g], here, there)
    loss += (state.loss[own] - state.loss[state.at[g]])[:, None]
    loss += state.loss[rows] - state.loss[base]
    units = state.units[:, own, None] - state.units[:, state.at[g], None, None]
    units = units + (state.units[:, rows] - state.units[:, base])[:, None, :]
    if coupling.units is not None:
        units = units + _together(coupling.units, here, there)
    keys = Gain(state)(loss.ravel(), units.reshape(len(units), loss.size)).reshape(loss.shape)
    keys[~state.open_rows(own)] = np.inf
    keys[:, ~state.open_rows(rows)] = np.inf
    r, s = np.unravel_index(int(keys.argmin()), keys.shape)
    if keys[r, s] == np.inf:
        return None
    return (g, int(own[r])), (int(tables.group[rows[s]]), int(rows[s]))


def _together(table: Integers, here: int, there: NDArray[np.int64]) -> Integers:
    """What two moves add in a table, (..., J, O), beyond what each of them adds alone."""
    row = table[..., here : here + 1, :]
    together: Integers = table - table[..., there] - row + row[..., there]
    return together


def chain(movers: Movers, stop: Callable[[], bool]) -> bool:
    """Try an upgrade and downgrades until it fits, or a downgrade and the upgrades that then fit.

    The most promising ones are tried, more where there are fewer moves. Returns whether one gained
    and was kept.
    """
    state, allowed = movers.state, ~movers.closed
    left = movers.units + state.excess[:, None]
    trials = min(_TRIALS, _PLACES_TRIED // len(movers.loss))
    ups = np.flatnonzero((movers.loss < 0) & allowed)
    need = state.tables.shares(np.maximum(left[:, ups], 0)).sum(axis=0)
    downs = np.flatnonzero((movers.loss >= 0) & allowed & (left <= 0).all(axis=0))
    saved = state.tables.shares(np.maximum(-movers.units[:, downs], 0)).sum(axis=0)
    moved: set[int] = set()

    def gains(added: int) -> bool:
        return state.feasible and added < 0

    for places, score in (
        (_first(ups, movers.loss[ups], need, trials), Relief(state)),
        (_first(downs, movers.loss[downs], saved, trials), Gain(state)),
    ):
        for place in places:
            if stop() or (moved and not state.tables.separable):
                return bool(moved)
            if int(movers.owner[place]) not in moved:
                moved |= followed(movers, movers.move(place), score, gains)
    return bool(moved)


def _first(
    places: NDArray[np.int64], loss: NDArray[np.int64], share: NDArray[np.float64], count: int
) -> list[int]:
    """The places of least loss per share, those of no share left out."""
    kept = np.flatnonzero(share > 0)
    order = np.argsort(loss[kept] / share[kept], kind="stable")[:count]
    first: list[int] = places[kept[order]].tolist()
    return first


def followed(movers: Movers, first: Move, score: Score, kept: Callable[[int], bool]) -> set[int]:
    """Make a move and then the best ones of other groups, and take all back unless they are kept.

    `kept` is asked with what they add to the loss. Returns the groups that were moved for good.
    """
    backs: list[Move] = []
    moved: set[int] = set()
    added, move = 0, first
    while True:
        backs.append(movers.state.back(move))
        moved.update(g for g, _ in move)
        added += movers.take(move)
        keys = movers.keys(score)
        keys[np.isin(movers.owner, list(moved))] = np.inf
        place = int(keys.argmin())
        if keys[place] == np.inf:
            break
        move = movers.move(place)
    if kept(added):
        return moved
    for back in reversed(backs):
        movers.take(back)
    return set()
