"""What the head of a cost table says of whole networks: from layer times to end-to-end times.

    prediction = overhead + rest + sum over layers of factor(row) x row
               + sum over links whose ends differ of (change + change per element x elements)

The figures stand in lines such as `# factor_us: 0.94`; their last part is the unit of the cost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from typing import NoReturn

from bitwright.cost_models.tables.reading import CostData
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.exact import exact
from bitwright.problems.formats.json_text import naming
from bitwright.problems.precision import Precision

_KEYS = ("overhead_{}", "factor_{}", "change_{}", "change_{}_per_element", "rest_{}")
_STARTS = ("overhead_", "factor_", "change_", "rest_")
_NUMBER = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?)(?:\s.*|$)", re.DOTALL)
_COMMA = re.compile(r"^([+-]?\d+),(\d+)(?=\s|$)")


@dataclass(frozen=True)
class Prediction:
    """Figures of a table's head, in the unit of its cost; None where there is no such line.

    `overhead` is that of an empty run and in no row. `rest` is what belongs to no layer of the network
    `network`. `change` is paid for every change of precision, `change_per_element` for each element
    of the tensor, too. `factor` leads from the sum of layers to end-to-end figures, and `factors` does
    for rows of one precision.
    """

    network: str = ""
    overhead: Fraction | None = None
    rest: Fraction | None = None
    change: Fraction | None = None
    change_per_element: Fraction | None = None
    factor: Fraction | None = None
    factors: Mapping[Precision, Fraction] = field(default_factory=dict)

    @property
    def is_end_to_end(self) -> bool:
        """Whether the head has more than the overhead of an empty run, which needs no network."""
        figures = (self.rest, self.change, self.change_per_element, self.factor)
        return bool(self.factors) or any(figure is not None for figure in figures)

    @property
    def has_changes(self) -> bool:
        """Whether a change of precision costs anything."""
        return bool(self.change or self.change_per_element)

    def factor_of(self, row: Precision, runs_as: Precision) -> Fraction | None:
        """The factor of a row: of its own precision, of what it runs as, or of all; None: unknown.

        A table without any factor has 1.
        """
        found = self.factors.get(row, self.factors.get(runs_as, self.factor))
        return Fraction(1) if found is None and not self.factors else found


def read_prediction(data: CostData, cost: str) -> Prediction:
    """The figures for a cost; raises `InputError` for one that is no number or is negative."""
    _check_keys(data)
    unit = cost.rpartition("_")[2]
    start = f"factor_{unit}_"
    factors: dict[Precision, Fraction] = {}
    for key in data.header:
        if key.startswith(start):
            with naming(data.source, f"header line {key!r}"):
                precision = Precision.parse(key.removeprefix(start))
            factors[precision] = _positive(data, key)
    factor = f"factor_{unit}"
    return Prediction(
        network=data.header.get("network", ""),
        overhead=_figure(data, f"overhead_{unit}"),
        rest=_figure(data, f"rest_{unit}"),
        change=_figure(data, f"change_{unit}"),
        change_per_element=_figure(data, f"change_{unit}_per_element"),
        factor=_positive(data, factor) if factor in data.header else None,
        factors=factors,
    )


def _check_keys(data: CostData) -> None:
    """Refuse lines that are meant to be figures and are none, for they would be left out silently."""
    known = [form.format(unit) for unit in data.units for form in _KEYS]
    for key in data.header:
        is_factor = any(key.startswith(f"factor_{unit}_") for unit in data.units)
        is_meant = " " not in key and f"{key}_".startswith(_STARTS)
        is_near = get_close_matches(key, known, 1, cutoff=0.8)
        if key not in known and not is_factor and (is_meant or is_near):
            raise InputError(
                f"{data.source}: header line {key!r} is no figure of a cost in this table, in "
                f"{' or '.join(data.units)}; {nearest(key, known)}"
            )


def batch_of(data: CostData) -> int | None:
    """The batch that a table was measured with; None where its head does not say."""
    match = re.match(r"\d{1,9}\b", data.header.get("batch", ""))
    return int(match[0]) if match else None


def _positive(data: CostData, key: str) -> Fraction:
    figure = _figure(data, key)
    return figure or _refuse(data, key, "must be above 0")


def _figure(data: CostData, key: str) -> Fraction | None:
    """The number that a line starts with; what follows behind a blank is for people."""
    if key not in data.header:
        return None
    text = data.header[key]
    if data.decimal_comma:
        text = _COMMA.sub(r"\1.\2", text)
    match = _NUMBER.match(text)
    if match is None:
        _refuse(data, key, "must start with a number")
    with naming(data.source):
        figure = exact(Decimal(match[1]), f"header line {key!r}")
    return figure if figure >= 0 else _refuse(data, key, "must not be negative")


def _refuse(data: CostData, key: str, rule: str) -> NoReturn:
    raise InputError(f"{data.source}: header line {key!r} {rule}, got {data.header[key]!r}")
