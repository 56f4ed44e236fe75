"""How good a move is: its loss per relief of broken budgets, or its gain where budgets hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitwright.search.local.moves import State
from bitwright.search.reduction import Integers

_ROUNDING = 1e-12


class Relief:
    """Scores moves by loss per relief: by how much less the budgets are broken.

    The relief of a move is the fall of sum_k weight_k * max(excess_k, 0) / room_k, the room being
    what a budget leaves above the cheapest rows: a cost that every choice has does not count, and a
    scarce budget counts more. What is saved beyond an excess relieves nothing, and a budget that a
    move breaks counts against it. Only moves that relieve are permitted, and by more than rounding:
    so the sum falls with every move that is made, no selection comes twice, and a downgrade ends.
    """

    def __init__(self, state: State, weights: NDArray[np.float64] | None = None) -> None:
        self.weights = np.ones(len(state.excess)) if weights is None else weights
        self._state = state

    def broken(self) -> float:
        """The sum that moves have to bring to 0."""
        excess = np.maximum(self._state.excess, 0)[:, None]
        return float(self.weights @ self._state.tables.shares(excess)[:, 0])

    def of(self, units: Integers) -> NDArray[np.float64]:
        """The relief of moves that add these units, (K, S), to the budget rows."""
        relief = np.full(units.shape[1], self.broken())
        for k, weight in enumerate(self.weights):
            after = units[k] + self._state.excess[k]
            np.maximum(after, 0, out=after)
            relief -= self._state.tables.share(k, after) * weight
        return relief

    def __call__(self, loss: NDArray[np.int64], units: Integers) -> NDArray[np.float64]:
        """The score of moves."""
        return rates(loss, self.of(units), _ROUNDING * self.broken())


class Gain:
    """Scores moves by what they add to the loss; only those are permitted that lower it and fit."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __call__(self, loss: NDArray[np.int64], units: Integers) -> NDArray[np.float64]:
        """The score of moves."""
        keys = np.full(len(loss), np.inf)
        gaining = np.flatnonzero(loss < 0)
        fit = (units[:, gaining] <= -self._state.excess[:, None]).all(axis=0)
        keys[gaining[fit]] = loss[gaining[fit]]
        return keys


def rates(
    loss: NDArray[np.int64], relief: NDArray[np.float64], least: float = 0.0
) -> NDArray[np.float64]:
    """Loss per relief, infinite where the relief is not above the least.

    Moves that lose nothing come before all others, those that gain most first.
    """
    keys = np.full(len(loss), np.inf)
    found = np.flatnonzero(relief > least)
    added = loss[found].astype(np.float64)
    keys[found] = np.where(added > 0, added / relief[found], added)
    return keys
