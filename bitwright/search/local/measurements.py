"""Measured losses of selections, counted and remembered."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import MeasurementError

Measure = Callable[[NDArray[np.int64]], float]
"""The measured loss of a selection, (N,); lower is better."""


class Measurements:
    """Measured losses of selections: each is measured once, and no more than a limit allows.

    A selection that cannot be measured, or comes to NaN, counts as infinitely bad; only where the
    very first cannot is the error raised, for then nothing can.
    """

    def __init__(self, measure: Measure, limit: int | None = None) -> None:
        self._measure, self._limit = measure, limit
        self._known: dict[bytes, float] = {}

    @property
    def used_up(self) -> bool:
        """Whether the limit allows no further measurement."""
        return self._limit is not None and len(self._known) >= self._limit

    def loss(self, selection: NDArray[np.int64]) -> float | None:
        """The measured loss of a selection, (N,); None where it would go beyond the limit."""
        key = selection.tobytes()
        if key not in self._known:
            if self.used_up:
                return None
            self._known[key] = self._measured(selection)
        return self._known[key]

    def _measured(self, selection: NDArray[np.int64]) -> float:
        try:
            loss = self._measure(selection)
        except MeasurementError:
            if not self._known:
                raise
            return math.inf
        return math.inf if math.isnan(loss) else loss
