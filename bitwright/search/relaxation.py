"""The Lagrangian relaxation of one budget: a multiplier, the answer it leads to, what it proves.

.. [HZ1980] Handler, Zang: A dual algorithm for the constrained shortest path problem. Networks
   10(4), 1980: the search for the multiplier by the slope between two known answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.search.reduction import ChoiceTable

ROUNDING = 2.0**-48
"""Bound on the relative error of a handful of float64 operations, generously."""


@dataclass(frozen=True, eq=False)
class Relaxation:
    """One multiplier u, in loss per unit of cost, and a selection within the budget.

    With L(choice) = loss + u * cost: `penalty` (G, J) is by how much L exceeds that of the picked
    choice, 0 where it is below. No selection within the budget has a loss below that of `picked`
    (G,) less `u * room + shortfall`; one that takes a choice of penalty p has none below that
    plus p. `room` is what the picked selection leaves of the budget, `rounding` how far all these
    figures may be off.
    """

    multiplier: float
    picked: NDArray[np.int64]
    penalty: NDArray[np.float64]
    room: int
    shortfall: float
    rounding: float


def relax(table: ChoiceTable, capacity: int) -> Relaxation:
    """Find the multiplier of the best bound; the cheapest choices fit, the dearest do not."""
    regret = table.loss - table.loss[:, -1:]
    multiplier, low, high = _search(table, regret, capacity)
    picked = _filled(table, low, high, capacity)
    lines = np.arange(len(picked))
    value = regret + multiplier * table.cost.astype(np.float64)
    base, least = value[lines, picked], value.min(axis=1)
    return Relaxation(
        multiplier=multiplier,
        picked=picked,
        penalty=np.maximum(value - base[:, None], 0.0),
        room=capacity - int(table.cost[lines, picked].sum()),
        shortfall=math.fsum(base - least),
        rounding=ROUNDING * (math.fsum(base) + multiplier * capacity),
    )


def _search(
    table: ChoiceTable, regret: NDArray[np.float64], capacity: int
) -> tuple[float, NDArray[np.int64], NDArray[np.int64]]:
    """Return the multiplier and the choices of two answers on its line, within the budget and not.

    Each pass tries the slope between the two answers at hand. Choices only move between those of
    the two, so that a group in which they agree is settled and leaves the passes [HZ1980].
    """
    low, high = np.zeros(len(regret), dtype=np.int64), table.count - 1
    cost_low, cost_high = 0, int(table.cost[:, -1].sum())
    loss_low, loss_high = float(regret[:, 0].sum()), 0.0
    active = np.arange(len(regret))
    while True:
        multiplier = max((loss_low - loss_high) / (cost_high - cost_low), 0.0)
        losses, costs = regret[active], table.cost[active]
        pick = np.argmin(losses + multiplier * costs.astype(np.float64), axis=1)
        lines = np.arange(len(active))
        cost = cost_low + int((costs[lines, pick] - costs[lines, low[active]]).sum())
        loss = loss_low + float((losses[lines, pick] - losses[lines, low[active]]).sum())
        if not cost_low < cost < cost_high:
            return multiplier, low, high
        if cost <= capacity:
            low[active], cost_low, loss_low = pick, cost, loss
        else:
            high[active], cost_high, loss_high = pick, cost, loss
        active = active[low[active] != high[active]]


def _filled(
    table: ChoiceTable, low: NDArray[np.int64], high: NDArray[np.int64], capacity: int
) -> NDArray[np.int64]:
    """The selection `low` with as many of its groups moved to `high`, in order, as fit."""
    lines = np.arange(len(low))
    steps = table.cost[lines, high] - table.cost[lines, low]
    room = capacity - int(table.cost[lines, low].sum())
    fits = np.cumsum(np.where(high > low, steps, 0)) <= room
    return np.where(fits & (high > low), high, low)
