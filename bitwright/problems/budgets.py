"""Budgets as people write them: plain numbers, shares of the range, and numbers with a unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.exact import Number, exact

_PREFIXES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
             "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}  # fmt: skip
_TIMES = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
}
_ENERGIES = {
    "nj": Fraction(1, 10**9),
    "uj": Fraction(1, 10**6),
    "mj": Fraction(1, 1000),
    "j": Fraction(1),
}
_VALUE = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµ%]*)\s*")


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on one cost: an amount in the cost's unit, or a share of the way through its range.

    A share of 0 is the cheapest configuration and 1 the dearest.

    >>> Budget.parse("latency_ms=50%")
    Budget(cost='latency_ms', amount=None, share=Fraction(1, 2))
    >>> Budget.parse("size_bytes=1.5MB").amount
    Fraction(1500000, 1)
    """

    cost: str
    amount: Fraction | None = None
    share: Fraction | None = None

    def __post_init__(self) -> None:
        if (self.amount is None) == (self.share is None):
            raise InputError(f"budget {self.cost!r} needs either an amount or a share")
        if self.amount is not None and self.amount < 0:
            raise InputError(
                f"budget {self.cost!r} must not be negative, got {float(self.amount):g}"
            )
        if self.share is not None and not 0 <= self.share <= 1:
            raise InputError(
                f"budget {self.cost!r}: a share must be from 0% to 100%, got {float(self.share * 100):g}%"
            )

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `NAME=VALUE`; raises `InputError` for anything else."""
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(
                f"a budget is written NAME=VALUE, such as latency_ms=2.5 or size_bits=50%, got {text!r}"
            )
        return cls.of(name.strip(), value)

    @classmethod
    def of(cls, cost: str, value: str | Number) -> Budget:
        """Read a value as it stands in a run configuration: a number, or text with a unit or `%`."""
        if not isinstance(value, str):
            return cls(cost, amount=exact(value, f"budget {cost!r}"))
        match = _VALUE.fullmatch(value)
        if match is None:
            raise InputError(
                f"budget {cost!r} must be a number, a number with a unit, or a share such as 50%, got {value!r}"
            )
        number = exact(Decimal(match[1]), f"budget {cost!r}")
        unit = match[2].replace("µ", "u")
        if unit == "%":
            return cls(cost, share=number / 100)
        return cls(cost, amount=number * _factor(cost, unit))


def _factor(cost: str, unit: str) -> Fraction:
    """How many of the cost's own unit one of `unit` is."""
    factors = _accepted_units(cost)
    if unit in factors:
        return factors[unit]
    raise InputError(
        f"budget {cost!r} does not take the unit {unit!r}; {nearest(unit, [u for u in factors if u])}"
    )


def _accepted_units(cost: str) -> Mapping[str, Fraction]:
    own = cost.rsplit("_", 1)[-1]
    plain = {prefix: Fraction(factor) for prefix, factor in _PREFIXES.items()}
    for family in (_TIMES, _ENERGIES):
        if own in family:
            spelled = {u.replace("j", "J"): f / family[own] for u, f in family.items()}
            return {"": Fraction(1), **spelled, **{u: f / family[own] for u, f in family.items()}}
    if own == "bytes":
        return {**plain, **{f"{p}B": f for p, f in plain.items()}, "bytes": Fraction(1)}
    if own == "bits":
        in_bits = {f"{p}B": f * 8 for p, f in plain.items()}
        return {**plain, **in_bits, **{f"{p}bit": f for p, f in plain.items()}, "bits": Fraction(1)}
    return plain
