"""What frozen dataclasses that hold arrays share: equality by value, and pickling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np


class ArrayValue:
    """Base of dataclasses (`frozen=True, eq=False`) that hold arrays; NaN equals NaN.

    Unpickling goes through the constructor: the rules are checked again and the arrays are read-only.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_same(getattr(self, n), getattr(other, n)) for n in _names(self))

    def __hash__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must say what it is hashed by")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, n) for n in _names(self))


def _names(value: Any) -> list[str]:
    return [field.name for field in fields(value)]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan="f" == a.dtype.kind == b.dtype.kind)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(value, b[key]) for key, value in a.items())
    both_nan = isinstance(a, float) and isinstance(b, float) and a != a and b != b  # noqa: PLR0124 - NaN
    return both_nan or bool(a == b)
