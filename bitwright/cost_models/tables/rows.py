"""A row of a cost table: what was measured, at which precision, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from bitwright.problems.errors import InputError
from bitwright.problems.exact import Number, exact
from bitwright.problems.operation import OperationKey
from bitwright.problems.precision import Precision

MEDIAN, SPREAD = "_median", "_spread"
"""Endings of the columns beside a cost's own; both are in its unit."""


@dataclass(frozen=True)
class CostRow:
    """Measured costs of one layer, by its name, or of one operation, at one precision.

    `costs` holds amounts by name, unit included (`latency_us`); `medians` and `spreads` may hold the
    same names. All become exact fractions. `runs_as` names the type in which it was computed.
    Raises `InputError` for a row without costs, and for an amount that is negative or not finite.
    """

    key: str | OperationKey
    precision: Precision
    costs: Mapping[str, Number] = field(hash=False)
    medians: Mapping[str, Number] = field(default_factory=dict, hash=False)
    spreads: Mapping[str, Number] = field(default_factory=dict, hash=False)
    runs_as: str = ""

    def __post_init__(self) -> None:
        if not self.key:
            raise InputError("a row of a cost table needs a layer or an operation")
        if not self.costs:
            raise InputError(f"the row of {self.key} at {self.precision} has no cost")
        for kind in ("costs", "medians", "spreads"):
            amounts = {
                name: self._amount(name, value, kind) for name, value in getattr(self, kind).items()
            }
            object.__setattr__(self, kind, amounts)

    def _amount(self, name: str, value: Number, kind: str) -> Fraction:
        what = f"{name} of {self.key} at {self.precision}"
        if not name or name.endswith((MEDIAN, SPREAD)):
            raise InputError(
                f"a cost must not be named {name!r}; {MEDIAN} and {SPREAD} say more of one"
            )
        if kind != "costs" and name not in self.costs:
            raise InputError(f"{what} stands among its {kind} without a cost")
        amount = exact(value, what)
        if amount < 0:
            raise InputError(f"{what} must not be negative, got {value}")
        return amount
