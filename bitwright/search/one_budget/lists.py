"""Lists of partial answers: only those are kept that no other matches in both cost and loss.

.. [NU1969] Nemhauser, Ullmann: Discrete dynamic programming and capital allocation. Management
   Science 15(9), 1969.
.. [HS1974] Horowitz, Sahni: Computing partitions with applications to the knapsack problem. Journal
   of the ACM 21(2), 1974: two lists, the best pair of which is found in one pass over both.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.search.kernels import accelerated
from bitwright.search.reduction import Integers

_LOSS_BITS = 61
_MOST_EXPONENT = 1000
_MOST_CHOICES = np.iinfo(np.int16).max


States = tuple[Integers, Integers]
"""Cost and loss of the states of a list, each (n,), by rising cost and falling loss."""


@accelerated(1)
def joined(
    states: States,
    more: States,
    prices: tuple[float, float],
    allowance: float,
    costs_allowed: tuple[int, int],
) -> tuple[States, NDArray[np.int32], NDArray[np.int32]]:
    """Let every state take every choice of `more`; what is undominated makes the next list [NU1969].

    Left out are states whose penalty exceeds the allowance, or whose cost is below or above those
    allowed. Of states equal in cost and loss that of the first choice is kept. Returns the new list,
    and of each new state the old one and the choice that it took.
    """
    size = len(states[0])
    costs, losses = ((m[:, None] + s).ravel() for m, s in zip(more, states, strict=True))
    kept = (costs >= costs_allowed[0]) & (costs <= costs_allowed[1])
    if allowance < math.inf:
        kept &= penalties((costs, losses), prices) <= allowance
    (chosen,) = kept.nonzero()
    chosen = chosen[undominated(costs[chosen], losses[chosen])]
    parent, choice = (chosen % size).astype(np.int32), (chosen // size).astype(np.int32)
    return (costs[chosen], losses[chosen]), parent, choice


def penalties(states: States, prices: tuple[float, float]) -> NDArray[Any]:
    """Cost and loss of the states at the prices of a unit of each, added up, shape (n,)."""
    penalty = prices[0] * states[0] + prices[1] * states[1]
    return penalty if isinstance(prices[1], int) else penalty.astype(np.float64, copy=False)


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


@accelerated(0, 1)
def paired(
    cost: Integers,
    loss: NDArray[np.int64],
    other_cost: Integers,
    other_loss: NDArray[np.int64],
    room: int,
) -> tuple[int, int, int]:
    """The least loss of one state of each list that together cost at most `room`, and the two states.

    Both lists come by rising cost and falling loss [HS1974]. Without such a pair the states are -1.
    """
    partner = np.searchsorted(other_cost, room - cost, side="right") - 1
    partner = partner[partner >= 0]  # the cheapest states, since partners get cheaper
    if not len(partner):
        return 0, -1, -1
    total = loss[: len(partner)] + other_loss[partner]
    state = int(total.argmin())
    return int(total[state]), state, int(partner[state])


def in_units(
    loss: NDArray[np.float64], base: NDArray[np.float64], unit: float
) -> tuple[NDArray[np.int64], bool]:
    """Losses above a base as multiples of a unit, a power of two, and whether these are rounded.

    Nothing is rounded before that, so that sums of the multiples compare like those of the losses.
    """
    difference = loss - base
    back = difference - loss
    error = (loss - (difference - back)) + (-base - back)
    parts = np.stack([difference, error])
    whole = np.rint(parts / unit)
    return whole.astype(np.int64).sum(axis=0), not np.array_equal(whole * unit, parts)


def comparable(
    loss: NDArray[np.float64], start: NDArray[np.int64], exact: bool
) -> tuple[Integers, Fraction, float]:
    """Losses above the least of every group as integers, their unit, and by how much sums are rounded.

    Group g owns `start[g]` up to `start[g + 1]`. Sums of one integer per group fit into int64; with
    `exact` they are Python integers, and nothing is rounded.
    """
    counts = np.diff(start)
    if exact:
        integers, fine = exact_units(loss)
        least = np.minimum.reduceat(integers, start[:-1])
        return integers - np.repeat(least, counts), fine, 0.0
    lowest = np.minimum.reduceat(loss, start[:-1])
    highest = np.maximum.reduceat(loss, start[:-1])
    unit = 2.0 ** -loss_exponent(float((highest - lowest).sum()))
    losses, rounded = in_units(loss, np.repeat(lowest, counts), unit)
    return losses, Fraction(unit), unit * len(counts) if rounded else 0.0


def exact_units(loss: NDArray[np.float64]) -> tuple[Integers, Fraction]:
    """Losses as Python integers, without rounding, and their unit."""
    mantissa, exponents = np.frexp(loss)
    exponent = 53 - int(exponents[mantissa != 0].min(initial=53))
    units = [
        (n << exponent) // d if exponent >= 0 else n // (d << -exponent)
        for n, d in map(float.as_integer_ratio, loss.tolist())
    ]
    return np.array(units, dtype=object), Fraction(2) ** -exponent


def loss_exponent(largest: float) -> int:
    """The power of two that takes sums of losses, at most `largest`, to integers of 61 bits.

    1000 at most, as floats go no further.
    """
    return min(_LOSS_BITS - math.frexp(largest)[1], _MOST_EXPONENT) if largest else 0


class Trail:
    """How the states of each list came about: the state they extend and the choice they took.

    Six bytes a state, twice that for a moment when the first states are followed back.
    """

    def __init__(self) -> None:
        self._parents: list[NDArray[np.int32]] = []
        self._choices: list[NDArray[np.signedinteger]] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._ends)

    def append(self, parent: NDArray[np.signedinteger], choice: NDArray[np.signedinteger]) -> None:
        """Note one list; both shapes are (states,)."""
        few = choice.max(initial=0) <= _MOST_CHOICES
        self._parents.append(parent.astype(np.int32, copy=False))
        self._choices.append(choice.astype(np.int16 if few else np.int32, copy=False))
        self._ends.append(len(parent) + (self._ends[-1] if self._ends else 0))

    def choices(self, states: NDArray[np.int64]) -> NDArray[np.int64]:
        """The choices that led to states of the last list, shape (states, lists)."""
        if not self._ends:
            return np.empty((len(states), 0), dtype=np.int64)
        if len(self._parents) > 1:
            self._parents = [np.concatenate(self._parents)]
            self._choices = [np.concatenate(self._choices)]
        ends = np.array(self._ends)
        return followed(self._parents[0], self._choices[0], ends, states).T


@accelerated()
def followed(
    parents: NDArray[np.int32],
    choices: NDArray[np.signedinteger],
    ends: NDArray[np.int64],
    states: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The choices that led to states of the last list, shape (lists, states).

    List k has its parents and choices before `ends[k]`, from the end of the list before.
    """
    taken = np.empty((len(ends), len(states)), dtype=np.int64)
    begins = [0, *ends[:-1].tolist()]
    for k in reversed(range(len(ends))):
        taken[k] = choices[begins[k] : ends[k]][states]
        states = parents[begins[k] : ends[k]][states].astype(np.int64)
    return taken
