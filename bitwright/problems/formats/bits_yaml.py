"""The bits of every layer, with scales where they are known, as plain YAML: `bitwright-bits/1`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.formats.json_text import Place, naming, read_text
from bitwright.problems.formats.yaml_text import parse_yaml
from bitwright.problems.precision import Precision

FORMAT = "bitwright-bits/1"
_SIDES = ("weight", "left", "right", "input", "output")


@dataclass(frozen=True, slots=True)
class GridFigures:
    """A grid in plain numbers: a code q stands for `scale * (q - zero_point)`.

    One scale and zero point, or one per index of `channel_axis`.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    quant_min: int
    quant_max: int
    channel_axis: int | None = None

    def __post_init__(self) -> None:
        if len(self.scale) != len(self.zero_point):
            raise InputError(
                f"a grid needs as many zero points as scales, got {len(self.zero_point)} and "
                f"{len(self.scale)}"
            )
        if self.channel_axis is None and len(self.scale) != 1:
            raise InputError(f"{len(self.scale)} scales need a channel_axis")
        if not all(math.isfinite(s) and s > 0 for s in self.scale):
            raise InputError("a scale must be a finite number above 0")
        if self.quant_min >= self.quant_max:
            raise InputError(
                f"quant_min must be below quant_max, got {self.quant_min} and {self.quant_max}"
            )


@dataclass(frozen=True, slots=True)
class LayerGrids:
    """The grids of a layer; None for a side that has none, or whose grid is not known.

    A weight of variant `svd-K` is the product of two, `left` of shape (m, K) and `right` of shape
    (K, n), and has a grid for each instead of `weight`. `output` is that of variant `integer`.
    """

    weight: GridFigures | None = None
    input: GridFigures | None = None
    left: GridFigures | None = None
    right: GridFigures | None = None
    output: GridFigures | None = None


@dataclass(frozen=True)
class Bits:
    """What the file says: the configuration, and the grids of its layers."""

    network: str
    configuration: BitConfiguration
    grids: Mapping[str, LayerGrids]


def bits_to_yaml(bits: Bits) -> str:
    """The text of the file; a list of numbers is on one line."""
    import yaml

    layers = {}
    for name, precision in bits.configuration.items():
        entry: dict[str, Any] = {
            "weight_bits": precision.weight_bits,
            "activation_bits": precision.activation_bits,
        }
        if precision.variant:
            entry["variant"] = precision.variant
        grids = bits.grids.get(name, LayerGrids())
        entry |= {
            side: _figures(grid) for side in _SIDES if (grid := getattr(grids, side)) is not None
        }
        layers[name] = entry
    document = {"format": FORMAT, "network": bits.network, "layers": layers}
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100))


def _figures(grid: GridFigures) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "scale": list(grid.scale),
        "zero_point": list(grid.zero_point),
        "quant_min": grid.quant_min,
        "quant_max": grid.quant_max,
    }
    return figures if grid.channel_axis is None else figures | {"channel_axis": grid.channel_axis}


def read_bits(path: str | Path) -> Bits:
    """Read such a file; raises `InputError` naming file, place, rule and value."""
    return bits_from_yaml(read_text(path), str(path))


def bits_from_yaml(text: str, source: str) -> Bits:
    """Read such a text; `source` names it in errors."""
    with naming(source):
        document = parse_yaml(text)
    root = Place(document, source)
    root.kind(FORMAT)
    root.keys(("format", "network", "layers"))
    root["format"].choice((FORMAT,))
    layers = [(name, *_layer(place)) for name, place in root["layers"].fields()]
    with naming(source):
        configuration = BitConfiguration((name, precision) for name, precision, _ in layers)
    grids = {name: found for name, _, found in layers if found != LayerGrids()}
    return Bits(root["network"].text(), configuration, grids)


def _layer(place: Place) -> tuple[Precision, LayerGrids]:
    place.keys(("weight_bits", "activation_bits"), ("variant", *_SIDES))
    variant = place["variant"].text() if "variant" in place else ""
    with naming(place.source, place.path):
        precision = Precision(
            place["weight_bits"].integer(), place["activation_bits"].integer(), variant
        )
    return precision, LayerGrids(**{side: _grid(place[side]) for side in _SIDES if side in place})


def _grid(place: Place) -> GridFigures:
    place.keys(("scale", "zero_point", "quant_min", "quant_max"), ("channel_axis",))
    axis = place["channel_axis"].integer() if "channel_axis" in place else None
    with naming(place.source, place.path):
        return GridFigures(
            tuple(_real(item) for item in place["scale"].items()),
            tuple(item.integer() for item in place["zero_point"].items()),
            place["quant_min"].integer(),
            place["quant_max"].integer(),
            axis,
        )


def _real(place: Place) -> float:
    if isinstance(place.value, bool) or not isinstance(place.value, int | float):
        place.fail(f"must be a number, got {place.value!r}")
    return float(place.value)
