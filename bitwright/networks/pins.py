"""Pins: layers whose precision is given beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.network import NetworkDescription
from bitwright.problems.precision import Precision


def pin(description: NetworkDescription, pins: Mapping[str, Precision]) -> NetworkDescription:
    """Pin layers by name pattern (`head.*`); `first` and `last` are the layers at the ends.

    A later pattern wins over an earlier one. Raises `InputError` for one that matches nothing.
    """
    pinned = {layer.name: layer.pinned for layer in description}
    for pattern, precision in pins.items():
        for name in _matching(description, pattern):
            pinned[name] = precision
    layers = tuple(replace(layer, pinned=pinned[layer.name]) for layer in description)
    return replace(description, layers=layers)


def _matching(description: NetworkDescription, pattern: str) -> list[str]:
    names = description.names
    if pattern in ("first", "last"):
        return [names[0] if pattern == "first" else names[-1]]
    matching = [name for name in names if fnmatchcase(name, pattern)]
    if not matching:
        raise InputError(
            f"pin {pattern!r} matches no layer of network {description.name!r}; "
            f"{nearest(pattern, names)}"
        )
    return matching
