"""The rules by which rows of a profile are recognised as layers: each proposes layers for open rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bitwright.cost_models.readers.names import (
    canonical,
    endings,
    foreign_ends,
    parts_of,
    steps_of,
    stripped,
)
from bitwright.cost_models.readers.operations import (
    family_of_layer,
    family_of_row,
    is_operation,
    may_compute,
)
from bitwright.cost_models.readers.profile import Measurement
from bitwright.problems.network import LayerDescription, NetworkDescription

Open = Sequence[tuple[int, Measurement]]
Proposal = dict[int, tuple[str, ...]]


_WEIGHT = ".weight"


class Names:
    """The names that a network's layers may be recognised by; None where two layers have one."""

    def __init__(self, network: NetworkDescription) -> None:
        self.order = {name: i for i, name in enumerate(network.names)}
        self.canonical = _unique((canonical(name), name) for name in network.names)
        self.fused = _unique((module, layer.name) for layer in network for module in layer.fused)
        self.endings = _unique(
            (ending, name) for name in network.names for ending in endings(name) if ending != name
        )

    def by_name(self, part: str) -> str | None:
        """The layer of just that name, endings of optimizers apart."""
        return next((n for n in (part, stripped(part)) if n in self.order), None)

    def by_path(self, part: str) -> str | None:
        """The layer whose module or node a path leads to, through operations inside it."""
        for path in _paths(part):
            if path in self.order:
                return path
            if found := self.canonical.get(canonical(path)):
                return found
        return None

    def by_fused(self, part: str) -> str | None:
        """The one layer that the module of a path runs together with."""
        return next((found for path in _paths(part) if (found := self.fused.get(path))), None)

    def by_ending(self, part: str) -> str | None:
        """The layer with the longest name that a path ends in, or the one whose name ends in the path."""
        for path in _paths(part):
            for ending in endings(path):
                if ending in self.order:
                    return ending
            if found := self.endings.get(path):
                return found
        return None


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for key, name in pairs:
        found[key] = name if found.get(key, name) == name else None
    return found


def _paths(part: str) -> Iterator[str]:
    """A path in dots, then without the operations at its end, of which there are two at most."""
    steps = steps_of(part)
    for _ in range(3):
        if steps:
            yield ".".join(steps)
        if not steps or not is_operation(steps.pop()):
            return


NAME_RULES = {
    "name": Names.by_name,
    "module path": Names.by_path,
    "fused module": Names.by_fused,
    "end of the name": Names.by_ending,
}
CERTAIN = ("name", "module path")
"""Several rows may be one layer by these; by any other rule a layer has one row."""


def by_names(rule: str, names: Names, rows: Open) -> Proposal:
    """Layers that the parts of each row's name lead to by one of `NAME_RULES`."""
    proposed: Proposal = {}
    for i, row in rows:
        if foreign_ends(row.name) is None:
            found = {NAME_RULES[rule](names, part) for part in parts_of(row.name)} - {None}
            proposed[i] = tuple(sorted((n for n in found if n), key=names.order.__getitem__))
    return proposed


def by_weights(names: Names, rows: Open) -> Proposal:
    """Conversions of a layer's own weights in every run, such as `conv1.weight_dequantized`."""
    proposed: Proposal = {}
    for i, row in rows:
        layer, mark, _ = row.name.partition(_WEIGHT)
        if mark and layer in names.order:
            proposed[i] = (layer,)
    return proposed


def by_range(names: Names, rows: Open, free: Sequence[str]) -> Proposal:
    """Layers from the first to the last node of a region that TensorRT's compiler took over.

    Both ends must be recognised, and layers with rows of their own are not of the region.
    """
    proposed: Proposal = {}
    for i, row in rows:
        ends = [
            names.by_name(end) or names.by_path(end) or names.by_fused(end)
            for end in foreign_ends(row.name) or ()
        ]
        if ends and ends[0] and ends[1]:
            first, last = names.order[ends[0]], names.order[ends[1]]
            proposed[i] = tuple(name for name in free if first <= names.order[name] <= last)
    return proposed


def last_of_kind(rows: Open, free: Sequence[LayerDescription]) -> Proposal:
    """The one open row that can compute the one free layer of a kind, such as the only `Linear`."""
    proposed: Proposal = {}
    for i, row in rows:
        family = family_of_row(row)
        layers = [layer for layer in free if may_compute(family, family_of_layer(layer))]
        if len(layers) == 1:
            rivals = [
                r for _, r in rows if may_compute(family_of_row(r), family_of_layer(layers[0]))
            ]
            if len(rivals) == 1:
                proposed[i] = (layers[0].name,)
    return proposed


def by_order(rows: Open, free: Sequence[LayerDescription]) -> Proposal:
    """Open rows as the free layers in their order, if there are as many and each kind agrees."""
    pairs = list(zip(rows, free, strict=False))
    agree = all(may_compute(family_of_row(r), family_of_layer(layer)) for (_, r), layer in pairs)
    if len(rows) != len(free) or not agree:
        return {}
    return {i: (layer.name,) for (i, _), layer in pairs}


def settled(proposed: Mapping[int, tuple[str, ...]], rows: Sequence[Measurement]) -> Proposal:
    """Proposals of several layers for one operation, cut down to what no other row is.

    Where the tool names the operation, a row is one layer: TensorFlow Lite joins the names of layers
    that share a constant. TensorRT names none, and a row is all the layers that it lists.
    """
    single = {layers[0] for layers in proposed.values() if len(layers) == 1}
    result = {}
    for i, layers in proposed.items():
        if len(layers) > 1 and rows[i].kind:
            layers = tuple(name for name in layers if name not in single)  # noqa: PLW2901
            if len(layers) != 1:
                continue
        if layers:
            result[i] = layers
    return result
