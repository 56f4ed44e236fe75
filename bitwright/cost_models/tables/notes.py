"""What whoever reads figures of a cost table should know, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from bitwright.cost_models.tables.lookup import Figure, Found, Key
from bitwright.problems.device import Device
from bitwright.problems.exact import Number
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.precision import Precision

if TYPE_CHECKING:
    from bitwright.cost_models.tables.table import CostTable

Figures = Mapping[tuple[LayerDescription, Precision], Figure]
_ABSORBED = ("ReLU", "ReLU6", "Hardtanh")
"""Clippings, which integer kernels and fused float kernels do on the way out."""
_SHOWN = 8


def total_spread(spreads: Iterable[Number | None]) -> float | None:
    """Spread of a sum of figures whose errors are independent: the root of the sum of squares.

    None where one of them is not known. An error that all rows share, such as a drift of the clock
    between two measurements of the whole, is not in it.

    >>> total_spread([3, 4.0])
    5.0
    """
    known = list(spreads)
    if any(spread is None for spread in known):
        return None
    return math.hypot(*(float(spread) for spread in known if spread is not None))


def source_text(found: Found, layer: LayerDescription, key: Key, factor: Fraction) -> str:
    """Which row a figure is, and what was done with it."""
    row = found.row
    parts = [f"row {key} at {row.precision}"]
    if row.runs_as:
        parts.append(f"measured as {row.runs_as}")
    if _is_without_activation(found, layer):
        parts.append(f"measured without {layer.activation}")
    if found.calls > 1:
        parts.append(f"{found.calls} calls")
    if factor != found.calls:
        parts.append(f"times {float(factor / found.calls):.4g}")
    return ", ".join(parts)


def _is_without_activation(found: Found, layer: LayerDescription) -> bool:
    return found.without_activation and layer.activation not in _ABSORBED


def other_batch(network: NetworkDescription, batch: int | None) -> LayerDescription | None:
    """The first convolution that reads another batch than the table was measured with."""
    if batch is None:
        return None
    for layer in network:
        batched = layer.kernel and len(layer.input_shape) == len(layer.kernel) + 2
        if batched and layer.input_shape[0] != batch:
            return layer
    return None


def notes_of(table: CostTable, figures: Figures) -> list[str]:
    """All notes, those on figures for what has been asked so far."""
    said = [_measured_how(table), *_totals(table), *_network_notes(table)]
    if table.device is not None:
        said += _on_device(table.device, figures)
    said += _unmeasured_activations(figures) + _estimates(figures)
    return said + _spreads(table, figures)


def _measured_how(table: CostTable) -> str:
    head = table.provenance
    said = [head[key] for key in ("device", "runtime", "date", "compute") if head.get(key)]
    said += [
        f"{key} {head[key]}" for key in ("threads", "batch", "repeats", "spread") if head.get(key)
    ]
    return f"{table.file.name}: measured on {', '.join(said)}" if said else f"{table.file.name}"


def _totals(table: CostTable) -> list[str]:
    head, unit = table.prediction, table.name.rpartition("_")[2]
    if not table.end_to_end:
        empty = f", and {float(head.overhead):g} {unit} of an empty run" if head.overhead else ""
        left = " or the factors, changes and rest in its head" if head.is_end_to_end else ""
        return [
            f"totals of {table.name} are sums of layers, not end-to-end figures: they are without what "
            f"lies between layers{empty}{left}"
        ]
    factors = [f"{float(f):g} for {p}" for p, f in sorted(head.factors.items())]
    factors += (
        [f"{float(head.factor):g} for {'others' if factors else 'all'}"] if head.factor else []
    )
    parts = [
        f"empty run {float(head.overhead or 0):g}",
        f"layers times {', '.join(factors)}" if factors else "layers, without a calibration factor",
    ]
    if head.has_changes:
        per_element = float(head.change_per_element or 0)
        parts.append(
            f"every change of precision {float(head.change or 0):g}"
            + (f" and {per_element:g} per element" if per_element else "")
        )
    text = f"totals of {table.name} predict end-to-end figures in {unit}: {'; '.join(parts)}"
    error = table.provenance.get("prediction_error")
    return [
        text + (f"; measured on {head.network}" if head.network and head.is_end_to_end else ""),
        *([f"measured and predicted differ by {error}"] if error else []),
    ]


def _network_notes(table: CostTable) -> list[str]:
    network, head, found = table.network, table.prediction, []
    if network is None:
        return []
    if table.end_to_end and head.rest:
        if table.is_of(network):
            found.append(f"with {float(head.rest):g} that belong to no layer of {network.name}")
        else:
            found.append(
                f"what belongs to no layer of {head.network or 'the network measured'} "
                f"({float(head.rest):g}) is not added for {network.name}"
            )
    if table.end_to_end and head.has_changes and not network.links and len(network) > 1:
        found.append(f"changes of precision are not charged: no links of {network.name} are known")
    other = other_batch(network, table.batch)
    if other is not None:
        found.append(
            f"measured with a batch of {table.batch}; layer {other.name} of {network.name} is "
            f"described with {other.input_shape[0]}"
        )
    return found


def _on_device(device: Device, figures: Figures) -> list[str]:
    """Which row serves, and whose rows say another type than the device."""
    types = {compute.name for compute in device.compute_types}
    other = [
        f"{layer.name} at {p} ({figure.found.row.runs_as})"
        for (layer, p), figure in figures.items()
        if figure.found is not None
        and figure.found.row.runs_as in types - {device.layer_runs_as(layer, p)}
    ]
    said = [f"device {device.name}: a precision without a row takes that of what it runs as"]
    if other:
        said.append(f"measured as another type than the device says: {_listed(other)}")
    return said


def _unmeasured_activations(figures: Figures) -> list[str]:
    names = [
        layer.name
        for (layer, _), figure in figures.items()
        if figure.found is not None and _is_without_activation(figure.found, layer)
    ]
    return [f"measured without the activation behind them: {_listed(names)}"] if names else []


def _estimates(figures: Figures) -> list[str]:
    asked = [f"{layer.name} at {p}" for (layer, p), f in figures.items() if f.source.interpolated]
    if not asked:
        return []
    errors = [figure.error for figure in figures.values() if figure.error is not None]
    error = (
        f"off by up to {max(errors):.0%} on average, rows of the table estimated from the others"
        if errors
        else "their error is not known: too few rows to leave one out"
    )
    return [f"{len(asked)} of {len(figures)} figures are interpolated ({error}): {_listed(asked)}"]


def _spreads(table: CostTable, figures: Figures) -> list[str]:
    """The spread of whole networks at one precision, of those that every layer was asked for."""
    found, unit = [], table.name.rpartition("_")[2]
    for precision in sorted({p for _, p in figures}) if table.network is not None else ():
        of_layers = [figures.get((layer, precision)) for layer in table.network or ()]
        total = total_spread(None if f is None else f.source.spread for f in of_layers)
        if total is not None:
            found.append(f"{total:.3g} {unit} at {precision}")
    return (
        [f"spread of the sum of all layers, errors independent: {', '.join(found)}"]
        if found
        else []
    )


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = f", and {len(unique) - _SHOWN} more" if len(unique) > _SHOWN else ""
    return ", ".join(unique[:_SHOWN]) + more
