"""Scores: which classes are critical, and how much each choice of bits hurts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.problems.values import ArrayValue


@dataclass(frozen=True)
class CriticalClasses:
    """The classes that matter, and why: their pairs, connected groups, and confusion rates.

    `pairs` are (class, class, symmetric confusion rate); `above_threshold` is False when no pair
    reached the threshold and the single most confused one was taken instead. With `given` the user
    named the classes.
    """

    classes: tuple[str, ...]
    pairs: tuple[tuple[str, str, float], ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    threshold: float | None = None
    above_threshold: bool = True
    given: bool = False


@dataclass(frozen=True, eq=False)
class SignificanceTable(ArrayValue):
    """Loss growth of every (component, precision) when it alone is quantized; lower is better.

    `scores` has shape (components, precisions), as measured: values may be negative. A precision
    that a component may not take is NaN.
    """

    measure: str
    components: tuple[str, ...]
    precisions: tuple[Precision, ...]
    scores: NDArray[np.float64] = field(repr=False)
    standard_errors: NDArray[np.float64] | None = field(default=None, repr=False)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("components", "precisions"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        shape = (len(self.components), len(self.precisions))
        for name in ("scores", "standard_errors"):
            value = getattr(self, name)
            if value is None:
                continue
            array = np.array(value, dtype=np.float64)
            if array.shape != shape:
                raise InputError(
                    f"{name} must have shape (components, precisions) = {shape}, got {array.shape}"
                )
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __hash__(self) -> int:
        return hash((self.measure, self.components, self.precisions))
