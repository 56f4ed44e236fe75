"""Lists of partial answers: only those are kept that no other matches in both cost and loss.

.. [NU1969] Nemhauser, Ullmann: Discrete dynamic programming and capital allocation. Management
   Science 15(9), 1969.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitwright.search.reduction import Integers

_LOSS_BITS = 61


def undominated(cost: Integers, loss: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices by rising cost and falling loss of the states that no other matches in both.

    Of equal states the first is kept. Quick where the costs come as a few ascending runs.
    """
    order = np.argsort(cost, kind="stable")
    ordered = loss[order]
    kept = np.ones(len(order), dtype=bool)
    kept[1:] = ordered[1:] < np.minimum.accumulate(ordered)[:-1]
    order = order[kept]
    last_of_cost = np.ones(len(order), dtype=bool)
    last_of_cost[:-1] = cost[order][1:] != cost[order][:-1]
    return order[last_of_cost]


def as_integers(loss: NDArray[np.float64]) -> tuple[NDArray[np.int64], float]:
    """Losses of shape (G, J) as multiples of a power of two, and that power.

    Sums of one loss per group then compare without rounding. The unit is 2**-61 of the largest
    such sum in absolute value: finer than the float64 of a total, so what is rounded away here
    is lost in a reported loss as well, unless terms of opposite sign cancel to all but nothing.
    """
    exponent = loss_exponent(float(np.abs(loss).max(axis=1).sum()))
    return np.rint(np.ldexp(loss, exponent)).astype(np.int64), float(np.ldexp(1.0, -exponent))


def loss_exponent(largest: float) -> int:
    """The power of two that takes sums of losses, at most `largest`, to integers of 61 bits."""
    return min(_LOSS_BITS - int(np.frexp(largest)[1]), 1000) if largest else 0


class Trail:
    """How the states of each list came about: the state they extend and the choice they took."""

    def __init__(self) -> None:
        self._parents: list[NDArray[np.int32]] = []
        self._choices: list[NDArray[np.int16]] = []

    def __len__(self) -> int:
        return len(self._parents)

    def append(self, parent: NDArray[np.int64], choice: NDArray[np.int64]) -> None:
        """Note one list; both shapes are (states,)."""
        self._parents.append(parent.astype(np.int32))
        self._choices.append(choice.astype(np.int16))

    def keep(self, states: NDArray[np.int64]) -> None:
        """Renumber the last list after all but these of its states were dropped."""
        self._parents[-1] = self._parents[-1][states]
        self._choices[-1] = self._choices[-1][states]

    def choices(self, states: NDArray[np.int64], lists: int | None = None) -> NDArray[np.int64]:
        """The choices that led to states of the last list, or of list `lists`: (states, lists)."""
        length = len(self) if lists is None else lists
        taken = np.empty((len(states), length), dtype=np.int64)
        for k in reversed(range(length)):
            taken[:, k] = self._choices[k][states]
            states = self._parents[k][states].astype(np.int64)
        return taken
