"""Pins: layers whose precision is given beforehand, or the least that it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.precision import LeastPrecision, Precision


def pin(
    description: NetworkDescription, pins: Mapping[str, Precision | LeastPrecision]
) -> NetworkDescription:
    """Pin layers by name pattern (`head.*`); `first` and `last` are the layers at the ends.

    A later pattern wins over an earlier one. Layers that cannot be quantized are passed over. Raises
    `InputError` for a pattern that matches nothing else.
    """
    layers = {layer.name: layer for layer in description}
    for pattern, precision in pins.items():
        for name in _matching(description, pattern):
            layers[name] = _pinned(layers[name], precision)
    return replace(description, layers=tuple(layers.values()))


def _pinned(layer: LayerDescription, precision: Precision | LeastPrecision) -> LayerDescription:
    if isinstance(precision, LeastPrecision):
        return replace(layer, pinned=None, least=precision.precision)
    return replace(layer, pinned=precision, least=None)


def _matching(description: NetworkDescription, pattern: str) -> list[str]:
    names = description.quantizable_names
    if pattern in ("first", "last") and names:
        return [names[0] if pattern == "first" else names[-1]]
    matching = [name for name in names if fnmatchcase(name, pattern)]
    if not matching:
        raise InputError(
            f"pin {pattern!r} matches no layer of network {description.name!r}; "
            f"{nearest(pattern, ('first', 'last', *names))}"
        )
    return matching
