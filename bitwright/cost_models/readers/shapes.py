"""Recognising layers by the shapes of what a row reads and writes, where names say nothing.

Layers of one shape are told apart by their order, which the profile and the network share; if they
were exchanged all the same, the times of equal operations would be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bitwright.cost_models.readers.operations import (
    Family,
    family_of_layer,
    family_of_row,
    may_compute,
)
from bitwright.cost_models.readers.profile import Measurement
from bitwright.problems.network import LayerDescription

_Shape = tuple[int, ...]
_Signature = tuple[Family, _Shape, _Shape, _Shape]
_BLOCKS = (8, 16)  # ONNX Runtime's NCHWc layout fills channels up to a block


def by_shape(
    rows: Sequence[tuple[int, Measurement]], free: Sequence[LayerDescription]
) -> dict[int, tuple[str, ...]]:
    """Rows whose shapes fit as many layers as there are such rows, in order; no others."""
    fitting: dict[_Signature, tuple[int, ...]] = {}
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, row in rows:
        signature = _signature(row)
        if signature is None:
            continue
        if signature not in fitting:
            fitting[signature] = tuple(k for k, layer in enumerate(free) if _fits(signature, layer))
        groups.setdefault(fitting[signature], []).append(i)
    return {i: (free[k].name,) for i, k in _matched(groups).items()}


def _matched(groups: dict[tuple[int, ...], list[int]]) -> dict[int, int]:
    """Groups of rows that fit as many layers as they are; what is theirs fits no other group."""
    found: dict[int, int] = {}
    while tight := next((k for k, rows in groups.items() if len(k) == len(rows)), None):
        found |= dict(zip(sorted(groups.pop(tight)), tight, strict=True))
        left: dict[tuple[int, ...], list[int]] = {}
        for layers, rows in groups.items():
            left.setdefault(tuple(k for k in layers if k not in tight), []).extend(rows)
        groups = left
    return found


def _signature(row: Measurement) -> _Signature | None:
    """Family, input, weight and output of a row; an empty shape where it is not said."""
    family = family_of_row(row)
    if family in (None, "recurrent", "attention") or not row.inputs or not row.outputs:
        return None
    data, *others = row.inputs
    least = 2 if family == "product" else 3
    if len(data) < least or len(row.outputs[0]) < least:
        return None
    weight = next((s for s in others if len(s) == len(data)), ()) if least == 3 else ()
    return family, data, weight, row.outputs[0]


def _fits(signature: _Signature, layer: LayerDescription) -> bool:
    family, data, weight, output = signature
    if not may_compute(family, family_of_layer(layer)):
        return False
    if family == "product":
        return _same_rows(data, layer.input_shape) and _same_rows(output, layer.output_shape)
    if len(data) != len(layer.input_shape) or (weight and weight[2:] != layer.kernel):
        return False
    if weight and (weight[1] == 1) != (layer.in_channels == (layer.groups or 1)):
        return False
    return any(
        _same_image(order(data), layer.input_shape)
        and _same_image(order(output), layer.output_shape)
        for order in (_as_it_is, _channels_second)
    )


def _same_rows(shape: _Shape, expected: _Shape) -> bool:
    same_length = bool(expected) and shape[-1] == expected[-1]
    return same_length and math.prod(shape[:-1]) == math.prod(expected[:-1])


def _same_image(shape: _Shape, expected: _Shape) -> bool:
    if len(shape) != len(expected) or shape[0] != expected[0] or shape[2:] != expected[2:]:
        return False
    return shape[1] == expected[1] or any(
        shape[1] == -(-expected[1] // block) * block for block in _BLOCKS
    )


def _as_it_is(shape: _Shape) -> _Shape:
    return shape


def _channels_second(shape: _Shape) -> _Shape:
    """A shape of the layout NHWC as that of NCHW."""
    return (shape[0], shape[-1], *shape[1:-1])
