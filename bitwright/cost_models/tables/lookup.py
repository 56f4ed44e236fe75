"""Finding the row that serves a layer, and saying what there is where none does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from bitwright.cost_models.tables.reading import CostData
from bitwright.cost_models.tables.rows import CostRow
from bitwright.problems.costing import CostSource
from bitwright.problems.device import Device, is_depthwise
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.network import LayerDescription
from bitwright.problems.operation import (
    OperationKey,
    operation_calls,
    operation_key,
    operation_keys,
)
from bitwright.problems.precision import Precision

Key = str | OperationKey


@dataclass(frozen=True)
class Found:
    """The row that serves a layer at a precision, once for each of `calls`.

    `runs_as` is the precision of the type that the device computes it in, or the layer's own.
    `without_activation` says that the activation behind the layer was not measured with it.
    """

    row: CostRow
    runs_as: Precision
    calls: int = 1
    without_activation: bool = False


@dataclass(frozen=True)
class Figure:
    """A cost as it is charged, factor and calls included, by a row or by rows of `precision`.

    `found` is None where it is estimated; `error` is then the mean relative error of such estimates.
    """

    amount: Fraction
    precision: Precision
    source: CostSource
    found: Found | None = None
    error: float | None = None


class Rows:
    """The rows of a cost table, by key and precision."""

    def __init__(self, data: CostData) -> None:
        self.source, self.by_operation = data.source, data.by_operation
        self.by_key: dict[Key, dict[Precision, CostRow]] = {}
        for row in data.rows:
            self.by_key.setdefault(row.key, {})[row.precision] = row

    def find(
        self, layer: LayerDescription, precision: Precision, device: Device | None
    ) -> Found | None:
        """The row of the precision itself, or else of what the device runs it as; None: there is none.

        Rows measured with the activation behind the layer come before those without.
        """
        runs_as = table_precision(layer, precision, device)
        keys = self.keys(layer)
        for key in keys:
            rows = self.by_key.get(key, {})
            row = rows.get(precision, rows.get(runs_as))
            if row is not None:
                return Found(row, runs_as, self.calls(layer), without_activation=key != keys[0])
        return None

    def calls(self, layer: LayerDescription) -> int:
        """How often a layer's row counts; a row of a layer is all its calls together."""
        return operation_calls(layer) if self.by_operation else 1

    def keys(self, layer: LayerDescription) -> tuple[Key, ...]:
        """Keys under which a layer's rows may stand, the nearest first."""
        return operation_keys(layer) if self.by_operation else (layer.name,)

    def missing(
        self, layer: LayerDescription, precision: Precision, device: Device | None
    ) -> InputError:
        """The error for a layer without a row: what was sought, and the nearest that there is."""
        running = _running(layer, precision, device)
        known = [row for key in self.keys(layer) for row in self.by_key.get(key, {})]
        shown = f" ({operation_key(layer)})" if self.by_operation else ""
        text = f"{self.source}: no row for layer {layer.name!r}{shown} at {precision}{running}; "
        if not known:
            return InputError(text + self._other_rows(layer))
        covered = ", ".join(str(p) for p in sorted(set(known)))
        hint = (
            f"; a device file says what runs as what (device: NAME or FILE.yaml), so that a row of "
            f"another precision can serve {precision}"
            if device is None
            else ""
        )
        of_this = "operation" if self.by_operation else "layer"
        return InputError(f"{text}for this {of_this} it covers {covered}{hint}")

    def _other_rows(self, layer: LayerDescription) -> str:
        if not self.by_operation:
            return nearest(layer.name, (str(key) for key in self.by_key))
        sought = operation_key(layer)
        operations = [key for key in self.by_key if isinstance(key, OperationKey)]
        same = [key for key in operations if bare(key) == sought.op]
        if not same:
            kinds = nearest(sought.op, {key.op for key in operations})
            return f"the table has no operation {sought.op!r}; {kinds}"
        close = sorted(same, key=lambda key: (_distance(key, sought), key))[:3]
        listed = "; ".join(f"{key} at {_labels(self.by_key[key])}" for key in close)
        return f"it covers {len(same)} operations of this kind, the nearest are {listed}"


def table_precision(
    layer: LayerDescription, precision: Precision, device: Device | None
) -> Precision:
    """The precision under which tables list what a layer runs as; without a device its own.

    Also its own where the device does not name it, as of variants that only a row of theirs describes.
    """
    if device is None:
        return precision
    found = device.table_precision(layer.kind, precision, depthwise=is_depthwise(layer))
    return found or precision


def _running(layer: LayerDescription, precision: Precision, device: Device | None) -> str:
    """What the device says of a precision, for the error about a missing row."""
    if device is None:
        return ""
    name = device.layer_runs_as(layer, precision)
    if name is None:
        return f", which device {device.name!r} does not store for {layer.kind}"
    return f", which runs as {name} ({table_precision(layer, precision, device)})"


def bare(key: OperationKey) -> str:
    """The kind of an operation without the activation that runs with it."""
    return key.op.partition("+")[0]


def _distance(key: OperationKey, other: OperationKey) -> float:
    """How far two sizes are apart, in octaves over all columns; kernels and strides count double."""
    octaves = 0.0
    for column in ("in_channels", "out_channels", "groups", "in_h", "in_w"):
        octaves += abs(math.log2(getattr(key, column) / getattr(other, column)))
    for column in ("kernel_h", "kernel_w", "stride"):
        octaves += 2 * abs(math.log2(getattr(key, column) / getattr(other, column)))
    return octaves


def _labels(rows: Mapping[Precision, CostRow] | Iterable[Precision]) -> str:
    return ", ".join(str(precision) for precision in sorted(rows))
