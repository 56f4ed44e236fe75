"""Exact decimal numbers: budgets are judged as written, so 0.1 + 0.2 + 0.3 <= 0.6 holds.

A column of costs is kept as integers over one power of ten; a single number as a `Fraction`.
Floats coming from Python or NPZ count as their shortest decimal form.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.problems.errors import InputError

INT64_SAFE_TOTAL = 2**62
"""Sums of int64 units stay below this; larger ones are kept as Python integers."""

_EXACT_IN_FLOAT = 10**15
_FAST_DIGITS = 12
_LARGEST = Fraction(sys.float_info.max)
_MOST_DECIMALS = 400

Number = int | float | Decimal | Fraction


def exact(value: object, what: str = "value") -> Fraction:
    """Return a finite number exactly as it was written; raises `InputError` naming `what`.

    >>> exact(0.1) + exact(0.2) + exact(0.3) <= exact(0.6)
    True
    """
    if type(value) is not Fraction and (
        isinstance(value, bool | np.bool_)
        or not isinstance(value, int | float | Decimal | Fraction | np.integer | np.floating)
    ):
        raise InputError(f"{what} must be a number, got {value!r}")
    if isinstance(value, int | np.integer | Fraction):
        number = value if isinstance(value, Fraction) else Fraction(int(value))
        if abs(number) > _LARGEST:
            raise _out_of_range(what, Decimal(int(number)))
        return number
    finite = value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
    if not finite:
        raise InputError(f"{what} must be finite, got {value}")
    decimal = value if isinstance(value, Decimal) else Decimal(str(value))
    # Looked at before any arithmetic: the Fraction of 1e999999999 would fill the memory.
    decimals = -int(decimal.as_tuple().exponent)
    if decimals > _MOST_DECIMALS or decimal.adjusted() > sys.float_info.max_10_exp:
        raise _out_of_range(what, decimal)
    number = Fraction(decimal)
    if abs(number) > _LARGEST:
        raise _out_of_range(what, decimal)
    return number


def _out_of_range(what: str, value: Decimal) -> InputError:
    return InputError(
        f"{what} must be below {sys.float_info.max:.3g} with at most {_MOST_DECIMALS} decimals, "
        f"got {value:.6g}"
    )


def plain(value: Fraction) -> int | float:
    """Return the integer, or the float nearest to the exact value."""
    return value.numerator if value.denominator == 1 else float(value)


def decimal_digits(value: Fraction, what: str = "value") -> int:
    """Digits behind the decimal point that write the value exactly; raises `InputError` if endless."""
    twos = fives = 0
    rest = value.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        raise InputError(f"{what} must have a finite decimal form, got {value}")
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
        safe = _below(units, -(-INT64_SAFE_TOTAL // max(len(units), 1)))
        units = units.astype(np.int64 if safe else object)
        while digits > 0 and not np.any(units % 10):
            units, digits = units // 10, digits - 1
        units.flags.writeable = False
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "digits", digits)

    @classmethod
    def of(cls, values: ArrayLike | Sequence[Number], what: str = "cost") -> ExactColumn:
        """Read integers, floats, decimals or fractions; raises `InputError` for NaN or infinity."""
        array = values if isinstance(values, np.ndarray) else None
        if array is not None and array.ndim != 1:
            raise InputError(f"{what} must be a list of numbers, got the shape {array.shape}")
        if array is not None and array.dtype.kind in "iu":
            return cls(array, 0)
        if array is not None and array.dtype.kind == "f":
            return _column_of_floats(array, what)
        fractions = [exact(v, f"{what}[{i}]") for i, v in enumerate(values)]  # type: ignore[arg-type]
        digits = max(
            (decimal_digits(f, f"{what}[{i}]") for i, f in enumerate(fractions)), default=0
        )
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
        scale = 10**self.digits
        if self.units.dtype == np.int64 and scale <= 10**22 and _below(self.units, 2**53):
            return self.units / np.float64(scale)  # both are exact, so the division rounds once
        return np.array([u / scale for u in self.units.tolist()], dtype=np.float64)

    def in_units(self, value: Fraction) -> int:
        """The largest integer number of units that is not above the value."""
        units: int = value.numerator * 10**self.digits // value.denominator
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


def _below(units: NDArray[Any], limit: int) -> bool:
    return -limit < int(units.min(initial=0)) and int(units.max(initial=0)) < limit


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
    decimals = [Decimal(str(v)) for v in (array.tolist() if array.dtype == np.float64 else array)]
    digits = max((-int(d.as_tuple().exponent) for d in decimals), default=0)
    digits, scale = max(digits, 0), Context(prec=40).scaleb  # no float has 40 significant digits
    return ExactColumn(np.array([int(scale(d, digits)) for d in decimals], dtype=object), digits)
