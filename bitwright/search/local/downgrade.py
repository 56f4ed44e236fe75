"""The downgrade: from a selection that breaks budgets to one that holds them, at least loss per saving.

.. [Moser1997] Moser, Jokanovic, Shiratori: An algorithm for the multidimensional multiple-choice
   knapsack problem. IEICE Transactions on Fundamentals E80-A(3), 1997: the same way down, led by
   the budget that is broken most.
.. [FS1999] Freund, Schapire: Adaptive game playing using multiplicative weights. Games and Economic
   Behavior 29, 1999.
.. [Morris1993] Morris: The breakout method for escaping from local minima. AAAI 1993.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bitwright.search.local.exchanges import followed
from bitwright.search.local.move_tables import MoveTables
from bitwright.search.local.movers import Movers, first_least
from bitwright.search.local.moves import Move, State
from bitwright.search.local.scores import Relief, rates
from bitwright.search.one_budget.sides import merge_sides

_SHORTLIST = 64
"""Groups that are looked at before each move, at least; with no more, each is the best of all."""

_BREAKOUTS = 20
_ROUNDS, _RATE = 100, 0.5
_PLACES_TRIED = 1_000_000

Pick = Callable[[Movers, Relief], Move | None]
"""Chooses the next move of a downgrade."""


def downgrade(
    state: State,
    stop: Callable[[], bool],
    weights: NDArray[np.float64] | None = None,
    pick: Pick | None = None,
) -> bool:
    """Move a state until its budgets hold; False where no move relieves them or it was stopped.

    Without `pick` it is the move of least loss per relief.
    """
    relief = Relief(state, weights)
    if pick is None and state.tables.separable:
        slide(state, relief)
    movers = Movers(state)
    while not state.feasible and not stop():
        if pick is None and state.tables.separable:
            if not _some_moves(movers, relief, stop):
                break
        elif (move := (pick or Movers.best)(movers, relief)) is not None:
            movers.take(move)
        else:
            break
    return state.feasible


def _some_moves(movers: Movers, relief: Relief, stop: Callable[[], bool]) -> bool:
    """Take the best moves of the groups that offer the best ones; whether there was any.

    Where there are many groups, looking at all of them for every move would take too long.
    """
    count = max(_SHORTLIST, len(movers.state.at) // 16)
    places, moved = movers.shortlist(relief, count), False
    for _ in range(count // 10):
        if stop() or (move := movers.best(relief, places)) is None:
            break
        movers.take(move)
        moved = True
    return moved


def slide(state: State, relief: Relief) -> None:
    """Take the first moves of a downgrade at once, where groups may be moved one by one.

    As long as the same budgets stay broken and the others hold, what a move relieves depends on its
    group alone. The best moves of a group are then steps along the lower hull of its rows, and
    those of all groups by rising loss per relief are the downgrade.
    """
    few = len(state.at) // 100
    while not state.feasible:
        before, broken = state.at, relief.broken()
        state.place(_taken(state, *_hull_steps(state, relief)))
        if np.count_nonzero(before != state.at) <= few or relief.broken() >= broken:
            return


def _hull_steps(
    state: State, relief: Relief
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Group, row, and row before of the steps along all hulls, by rising loss per relief, (S,)."""
    tables, counted = state.tables, np.where(state.excess > 0, relief.weights, 0.0)
    cost = counted @ tables.shares(tables.units)
    at, rate = state.at.copy(), np.full(len(state.at), -np.inf)
    rows, found = np.arange(len(tables.group)), []
    while len(rows):
        base = at[tables.group[rows]]
        cheaper = cost[rows] < cost[base]
        rows, base = rows[cheaper], base[cheaper]
        keys = rates(state.loss[rows] - state.loss[base], cost[base] - cost[rows])
        place, least = first_least(tables.group[rows], keys)
        group = tables.group[rows[place]]
        # Rounding alone may make a step look better than the one before it in its group.
        rate[group] = np.maximum(rate[group], least)
        found.append((rate[group], group, rows[place], base[place]))
        at[group] = rows[place]
    by_rate, group, row, previous = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(by_rate, kind="stable")
    return group[order], row[order], previous[order]


def _taken(
    state: State, group: NDArray[np.int64], row: NDArray[np.int64], previous: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The rows after as many steps as leave the broken budgets broken and the others whole."""
    units = state.tables.units
    excess = state.excess[:, None] + np.cumsum(units[:, row] - units[:, previous], axis=1)
    changed = ((excess > 0) != (state.excess > 0)[:, None]).any(axis=0)
    count = int(changed.argmax()) if changed.any() else len(group)
    at = state.at.copy()
    at[group[:count]] = row[:count]  # the last of a group's steps stays
    return at


def repair(state: State, stop: Callable[[], bool]) -> bool:
    """Lead a state that no downgrade takes further to one within the budgets; False if none is found.

    Budgets that are still broken count double, again and again: what was a dead end under other
    weights is none any more [Morris1993]. That is tried from here, and then from the cheapest
    selection that breaks the budgets least. What is left then may be a move that breaks them more
    and lets others mend them.
    """
    return (
        _break_out(state, stop)
        or _cheapest(state, stop)
        or _break_out(state, stop)
        or _detour(state, stop)
    )


def _break_out(state: State, stop: Callable[[], bool]) -> bool:
    weights = np.ones(len(state.excess))
    for _ in range(_BREAKOUTS):
        weights[state.excess > 0] *= 2.0
        if stop() or downgrade(state, stop, weights):
            break
    return state.feasible


def _cheapest(state: State, stop: Callable[[], bool]) -> bool:
    """Take the cheapest selection, under weights of the budgets that favour those it breaks.

    Multiplicative weights [FS1999]; of all those met, the one that breaks the budgets least stays.
    """
    tables, relief = state.tables, Relief(state)
    shares = tables.shares(tables.units)
    logs, least, best = np.zeros(len(shares)), np.inf, state.at
    for k in range(_ROUNDS):
        if stop():
            break
        state.place(least_rows(tables, np.exp(logs - logs.max()) @ shares))
        if relief.broken() < least:
            least, best = relief.broken(), state.at
        if state.feasible:
            return True
        excess = tables.shares(state.excess[:, None])[:, 0]
        logs += _RATE * excess / (np.abs(excess).max() * np.sqrt(k + 1))
    state.place(best)
    return state.feasible


def _detour(state: State, stop: Callable[[], bool]) -> bool:
    movers, relief = Movers(state), Relief(state)
    order = np.argsort(-relief.of(movers.units), kind="stable")
    for place in order[~movers.closed[order]][: _PLACES_TRIED // len(order)].tolist():
        if stop() or followed(movers, movers.move(place), relief, lambda _: state.feasible):
            break
    return state.feasible


def least_rows(tables: MoveTables, value: NDArray[np.float64]) -> NDArray[np.int64]:
    """The rows, (G,), that keep the ties and add up to the least value, given per row, (R,)."""
    groups = replace(tables.groups, loss=value)
    merged = merge_sides(tables.problem, groups, None)
    return tables.rows_of(merged.selection(merged.least_loss()))
