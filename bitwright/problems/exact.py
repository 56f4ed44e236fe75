"""Exact decimal numbers: budgets are judged as written, so 0.1 + 0.2 + 0.3 <= 0.6 holds.

A column of costs is kept as integers over one power of ten; a single number as a `Fraction`.
Floats coming from Python or NPZ count as their shortest decimal form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.problems.errors import InputError

INT64_SAFE_TOTAL = 2**62
"""Sums of int64 units stay below this; larger ones are kept as Python integers."""

_EXACT_IN_FLOAT = 10**15
_FAST_DIGITS = 12
_LONGEST_DECIMAL = 400

Number = int | float | Decimal | Fraction


def exact(value: object, what: str = "value") -> Fraction:
    """Return a finite number exactly as it was written; raises `InputError` naming `what`.

    >>> exact(0.1) + exact(0.2) + exact(0.3) <= exact(0.6)
    True
    """
    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | Decimal | Fraction | np.integer | np.floating
    ):
        raise InputError(f"{what} must be a number, got {value!r}")
    if isinstance(value, Fraction):
        return value
    if isinstance(value, int | np.integer):
        return Fraction(int(value))
    finite = value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
    if not finite:
        raise InputError(f"{what} must be finite, got {value}")
    decimal = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    if abs(decimal.adjusted()) > _LONGEST_DECIMAL:
        raise InputError(f"{what} is out of range: {value}")
    return Fraction(decimal)


def plain(value: Fraction) -> int | float:
    """Return the integer, or the float nearest to the exact value."""
    return value.numerator if value.denominator == 1 else float(value)


def decimal_digits(value: Fraction) -> int:
    """Digits behind the decimal point that write the value exactly; raises `InputError` if endless."""
    twos = fives = 0
    rest = value.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        raise InputError(f"{value} has no finite decimal form")
    return max(twos, fives)


class ExactColumn:
    """Numbers held exactly: value i is `units[i] / 10**digits`; immutable, equal by value.

    `units` has shape (M,), int64 where no sum over the column can overflow, else Python integers
    in an object array.
    """

    __slots__ = ("digits", "units")
    units: NDArray[Any]
    digits: int

    def __init__(self, units: NDArray[Any], digits: int) -> None:
        if units.dtype != np.int64:
            largest = max((abs(int(u)) for u in units), default=0)
            if largest * max(len(units), 1) < INT64_SAFE_TOTAL:
                units = units.astype(np.int64)
        elif len(units) and float(np.abs(units).max()) * len(units) >= INT64_SAFE_TOTAL:
            units = units.astype(object)
        units = np.array(units)
        while digits > 0 and not np.any(units % 10):
            units, digits = units // 10, digits - 1
        units.flags.writeable = False
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "digits", digits)

    @classmethod
    def of(cls, values: ArrayLike | Sequence[Number], what: str = "cost") -> ExactColumn:
        """Read integers, floats, decimals or fractions; raises `InputError` for NaN or infinity."""
        array = values if isinstance(values, np.ndarray) else None
        if array is not None and array.dtype.kind in "iu":
            largest = int(array.max(initial=0))
            return cls(array.astype(np.int64 if largest < 2**63 else object), 0)
        if array is not None and array.dtype.kind == "f":
            return _column_of_floats(array, what)
        fractions = [exact(v, f"{what}[{i}]") for i, v in enumerate(values)]  # type: ignore[arg-type]
        digits = max((decimal_digits(f) for f in fractions), default=0)
        units = np.array([int(f * 10**digits) for f in fractions], dtype=object)
        return cls(units, digits)

    def total(self, indices: NDArray[np.int64]) -> Fraction:
        """Exact sum of the values at the indices."""
        return (
            Fraction(int(self.units[indices].sum()), 10**self.digits)
            if len(indices)
            else Fraction(0)
        )

    def value(self, index: int) -> Fraction:
        """The exact value at one index."""
        return Fraction(int(self.units[index]), 10**self.digits)

    def floats(self) -> NDArray[np.float64]:
        """The values as the nearest floats, shape (M,)."""
        if self.units.dtype == object:
            return np.array([float(self.value(i)) for i in range(len(self.units))])
        return self.units / np.float64(10**self.digits)

    def in_units(self, value: Fraction) -> int:
        """The largest integer number of units that is not above the value."""
        units: int = math.floor(value * 10**self.digits)
        return units

    def __len__(self) -> int:
        return len(self.units)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExactColumn):
            return NotImplemented
        return self.digits == other.digits and np.array_equal(self.units, other.units)

    def __hash__(self) -> int:
        return hash((self.digits, tuple(self.units.tolist())))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an ExactColumn is immutable; cannot set {name!r}")

    def __reduce__(self) -> tuple[type[ExactColumn], tuple[NDArray[Any], int]]:
        return ExactColumn, (np.array(self.units), self.digits)

    def __repr__(self) -> str:
        shown = ", ".join(str(plain(self.value(i))) for i in range(min(len(self), 6)))
        return f"ExactColumn([{shown}{', ...' if len(self) > 6 else ''}])"


def _column_of_floats(array: NDArray[np.floating[Any]], what: str) -> ExactColumn:
    """Read floats as their shortest decimals, all at once where 15 significant digits are enough.

    Two decimals of at most 15 significant digits never round to the same float64, so a scaled
    integer below 10**15 that divides back to the float is its shortest decimal.
    """
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise InputError(f"{what}[{bad}] must be finite, got {array[bad]}")
    if array.dtype == np.float64:
        for digits in range(_FAST_DIGITS + 1):
            scaled = np.rint(array * 10.0**digits)
            if np.abs(scaled).max(initial=0) >= _EXACT_IN_FLOAT:
                break
            if np.array_equal(scaled / 10.0**digits, array):
                return ExactColumn(scaled.astype(np.int64), digits)
    return ExactColumn.of([Decimal(str(v)) for v in array], what)
