"""Corners of boxes of budgets, in units of every cost, with what is known at them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Corner = tuple[int, ...]
Box = tuple[Corner, Corner]
"""The budgets from a lower to an upper corner, both included."""


def without(point: Corner, box: Box) -> list[Box]:
    """What is left of a box without the budgets that are all at least the point's, in boxes."""
    low, high = box
    parts = []
    for axis, value in enumerate(point):
        if value > low[axis]:
            parts.append((low, (*high[:axis], value - 1, *high[axis + 1 :])))
            low = (*low[:axis], value, *low[axis + 1 :])
    return parts


class BoundPool:
    """Multipliers, each with the bound that it proves at any corner."""

    def __init__(self, costs: int) -> None:
        self._multipliers = np.empty((0, costs))
        self._at_zero = np.empty(0)

    def add(self, multipliers: NDArray[np.float64], at_zero: float) -> None:
        """Note multipliers, and the bound that they prove at the lowest corner."""
        self._multipliers = np.vstack([self._multipliers, multipliers])
        self._at_zero = np.append(self._at_zero, at_zero)

    def bounds(self, corners: Sequence[Corner]) -> NDArray[np.float64]:
        """The best bound at some corners."""
        spent = np.array(corners, dtype=np.float64) @ self._multipliers.T
        bounds: NDArray[np.float64] = (self._at_zero - spent).max(axis=1, initial=-math.inf)
        return bounds


class CornerValues:
    """Corners with a value each, to be asked for the extreme value on one side of a corner."""

    def __init__(self, costs: int, kind: np.dtype[Any]) -> None:
        self._corners = np.empty((0, costs), dtype=kind)
        self.values = np.empty(0)

    def add(self, corner: Corner, value: float) -> None:
        """Note a value."""
        row = np.array([corner], dtype=self._corners.dtype)
        self._corners = np.concatenate([self._corners, row])
        self.values = np.append(self.values, value)

    def least_within(self, corner: Corner) -> tuple[Corner, float] | None:
        """The corner of least value of those that are nowhere above one."""
        limit = np.array(corner, dtype=self._corners.dtype)
        fits = np.flatnonzero(np.asarray((self._corners <= limit).all(axis=1), dtype=bool))
        if not len(fits):
            return None
        at = int(fits[np.argmin(self.values[fits])])
        return tuple(int(c) for c in self._corners[at]), float(self.values[at])

    def largest_above(self, corner: Corner) -> float:
        """The largest value of those that are nowhere below one."""
        limit = np.array(corner, dtype=self._corners.dtype)
        fits = np.asarray((self._corners >= limit).all(axis=1), dtype=bool)
        return float(self.values[fits].max(initial=-math.inf))
