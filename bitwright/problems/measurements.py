"""What is measured of a network on a data split: quality, and who is confused with whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import InputError
from bitwright.problems.values import ArrayValue


@dataclass(frozen=True, eq=False)
class Quality(ArrayValue):
    """Quality of one network on one split; every metric is better when higher.

    `metrics` are overall figures (`accuracy`; for detectors `map`, `ap50`), the first one is the
    task's main metric. `per_class` has one figure per class name, NaN for a class that never occurs.
    `confusion[true, predicted]` counts objects, shape (C, C); detectors add a last row and column
    for the background.
    """

    classes: tuple[str, ...]
    metrics: Mapping[str, float]
    per_class: Mapping[str, float]
    confusion: NDArray[np.int64] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "metrics", dict(self.metrics))
        object.__setattr__(self, "per_class", dict(self.per_class))
        confusion = np.array(self.confusion, dtype=np.int64)
        confusion.flags.writeable = False
        object.__setattr__(self, "confusion", confusion)
        if not self.metrics:
            raise InputError("a Quality needs at least one overall metric")
        if set(self.per_class) != set(self.classes):
            raise InputError(
                f"per_class must name the classes {list(self.classes)}, got {list(self.per_class)}"
            )
        sides = (len(self.classes), len(self.classes) + 1)
        if (
            confusion.ndim != 2
            or confusion.shape[0] != confusion.shape[1]
            or len(confusion) not in sides
        ):
            raise InputError(
                f"confusion must be square with {sides[0]} or {sides[1]} rows, got {confusion.shape}"
            )

    def __hash__(self) -> int:
        return hash((self.classes, self.confusion.tobytes()))

    @property
    def main(self) -> float:
        """The task's main metric; higher is better."""
        return next(iter(self.metrics.values()))

    @property
    def main_name(self) -> str:
        """Name of the task's main metric."""
        return next(iter(self.metrics))

    def over_classes(self, classes: tuple[str, ...]) -> float:
        """Mean of `per_class` over the named classes that occur; NaN when none does."""
        values = [self.per_class[name] for name in classes]
        known = [value for value in values if not np.isnan(value)]
        return float(np.mean(known)) if known else float("nan")
