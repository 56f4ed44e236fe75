"""What `bitwright cost` says of uniform configurations: totals, layers, what runs as what, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitwright.problems.costing import CostSource
from bitwright.problems.device import Device
from bitwright.problems.network import NetworkDescription
from bitwright.problems.precision import Precision
from bitwright.text import figure, share, text_table, wrapped
from bitwright.uniform_costs import UniformConfiguration, runs_as

_IN_UNITS = {"bitops": ("GBOPS", 1e9, 2), "size_bits": ("MiB", 8 * 2**20, 3)}
"""Costs that papers give in another unit: its name, size and decimals."""


def costs_text(
    network: NetworkDescription,
    made: Sequence[UniformConfiguration],
    left_out: Mapping[Precision, str],
    device: Device | None,
    *,
    pins: str,
    per_layer: bool,
    widest: int | None,
) -> str:
    """Costs of uniform configurations; `pins` says whether these hold the pins."""
    parts = []
    if per_layer and made:
        parts += [_layers(network, made, cost, widest) for cost in made[0].layer_costs]
    if made:
        parts.append(_totals(network, made, pins, device))
    parts += [wrapped(f"{p} is left out: {reason}") for p, reason in left_out.items()]
    notes = [
        wrapped(f"{cost}: {said}")
        for cost in dict.fromkeys(cost for c in made for cost in c.table.notes)
        for said in dict.fromkeys(said for c in made for said in c.table.notes.get(cost, ()))
    ]
    return "\n\n".join([*parts, "\n".join(notes)] if notes else parts)


def _totals(
    network: NetworkDescription,
    made: Sequence[UniformConfiguration],
    pins: str,
    device: Device | None,
) -> str:
    names = list(made[0].totals)
    also = [name for name in names if name in _IN_UNITS]
    rows = []
    for c in made:
        row = [c.precision.label, *(figure(value) for value in c.totals.values())]
        for name in also:
            _, unit, decimals = _IN_UNITS[name]
            row.append(f"{c.totals[name] / unit:.{decimals}f}")
        if device is not None:
            counts = runs_as(network, c, device)
            row.append(", ".join(f"{name} {count}" for name, count in counts.items()))
        rows.append(row)
    head = ["precision", *names, *(_IN_UNITS[name][0] for name in also)]
    where = ""
    if device is not None:
        head.append("layers run as")
        where = f" on {device.title}"
    return f"every layer at one precision{where}, pins {pins}:\n{text_table(head, rows)}"


def _layers(
    network: NetworkDescription,
    made: Sequence[UniformConfiguration],
    cost: str,
    widest: int | None,
) -> str:
    """One cost of every layer at every precision, with where the figures come from."""
    said = {c.precision: _said(network, c, cost) for c in made}
    rows = []
    for name in network.names:
        row = [name]
        for c in made:
            value = c.layer_cost(name, cost)
            row += [figure(value), share(value, c.totals[cost])]
            row += [said[c.precision][name]] if any(said[c.precision].values()) else []
        rows.append(row)
    head = ["layer"]
    for c in made:
        head += [c.precision.label, "share"]
        head += ["from"] if any(said[c.precision].values()) else []
    for what, parts in (
        ("(no layer's)", [c.fixed for c in made]),
        ("(between layers)", [c.between for c in made]),
    ):
        if any(part[cost] for part in parts):
            row = [what]
            for c, part in zip(made, parts, strict=True):
                row += [figure(part[cost]), share(part[cost], c.totals[cost])]
                row += [""] if any(said[c.precision].values()) else []
            rows.append(row)
    return f"{cost} of every layer:\n{text_table(head, rows, widest)}"


def _said(
    network: NetworkDescription, configuration: UniformConfiguration, cost: str
) -> dict[str, str]:
    return {name: _source_text(configuration.source(name, cost)) for name in network.names}


def _source_text(source: CostSource) -> str:
    parts = [source.runs_as, source.text]
    parts += [f"± {figure(float(source.spread))}"] if source.spread else []
    parts += ["interpolated"] if source.interpolated else []
    return ", ".join(part for part in parts if part)
