"""Which layers of a network each row of a profile is: rules in order of certainty, nothing guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from bitwright.cost_models.readers.operations import Role, role_of
from bitwright.cost_models.readers.profile import Measurement, Profile
from bitwright.cost_models.readers.rules import (
    CERTAIN,
    NAME_RULES,
    Names,
    Proposal,
    by_names,
    by_order,
    by_range,
    by_weights,
    last_of_kind,
    settled,
)
from bitwright.cost_models.readers.shapes import by_shape
from bitwright.problems.network import LayerDescription, NetworkDescription


@dataclass(frozen=True, slots=True)
class MappedRow:
    """A row, the layers that it is, by which rule, and what it does where it is none."""

    measurement: Measurement
    role: Role
    layers: tuple[str, ...] = ()
    rule: str = ""


@dataclass(frozen=True, slots=True)
class LayerTime:
    """The time of one layer: of its own rows, and its share of rows that several layers have.

    `shared` says whether there is such a row: its time is split by multiply-adds. `computed_in` are
    the types that its rows ran in, as far as the tool says.
    """

    layer: str
    time_us: Fraction
    spread_us: Fraction | None
    shared: bool
    computed_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProfileMapping:
    """What a profile says of a network; every row's time is in just one of the sums here."""

    network: NetworkDescription
    profile: Profile
    rows: tuple[MappedRow, ...]

    @property
    def layer_times(self) -> tuple[LayerTime, ...]:
        """Times of the layers that rows were mapped to, in the network's order."""
        described = {layer.name: layer for layer in self.network}
        parts: dict[str, list[tuple[MappedRow, Fraction]]] = {}
        for row in self.rows:
            shares = _shares([described[name] for name in row.layers])
            for name, share in zip(row.layers, shares, strict=True):
                parts.setdefault(name, []).append((row, share))
        return tuple(_layer_time(name, parts[name]) for name in described if name in parts)

    @property
    def missing(self) -> tuple[str, ...]:
        """Layers that no row is, in the network's order."""
        found = {name for row in self.rows for name in row.layers}
        return tuple(name for name in self.network.names if name not in found)

    @property
    def unmapped(self) -> tuple[MappedRow, ...]:
        """Rows that multiply, or of which nobody knows what they do, and that no rule maps."""
        return tuple(r for r in self.rows if not r.layers and r.role in ("layer", "unknown"))

    @property
    def layers_us(self) -> Fraction:
        """Time of the rows that are layers."""
        return _sum(r for r in self.rows if r.layers)

    @property
    def conversions_us(self) -> Fraction:
        """Time of reformatting, copying, quantizing and dequantizing."""
        return _sum(r for r in self.rows if not r.layers and r.role == "conversion")

    @property
    def other_us(self) -> Fraction:
        """Time of operations that multiply nothing, such as pooling, where no layer took them in."""
        return _sum(r for r in self.rows if not r.layers and r.role == "other")

    @property
    def unmapped_us(self) -> Fraction:
        """Time of the rows in `unmapped`."""
        return _sum(self.unmapped)

    @property
    def rest_us(self) -> Fraction:
        """Time that belongs to no layer, for whatever reason."""
        return self.profile.total_us - self.layers_us


def map_profile(
    profile: Profile, network: NetworkDescription, *, in_order: bool = False
) -> ProfileMapping:
    """Map rows to layers: by name, module path, fused module, end of the name, range, then shape.

    A row that names several layers is all of them. With `in_order`, rows that multiply and that no
    other rule maps are the remaining layers in their order, if there are as many of each kind.
    """
    found = _Found(network, profile.rows)
    names = Names(network)
    for rule in NAME_RULES:
        found.take(rule, by_names(rule, names, found.open_rows("layer", "unknown")))
    inside = by_names("module path", names, found.open_rows("other"))
    found.take("inside the layer", inside, shared=True)
    own_weights = by_weights(names, found.open_rows("conversion"))
    found.take("weights of the layer", own_weights, shared=True)
    found.take("range of nodes", by_range(names, found.open_rows("unknown"), found.free_names()))
    found.take("shape", by_shape(found.open_rows("layer"), found.free()))
    found.take("last of its kind", last_of_kind(found.open_rows("layer"), found.free()))
    if in_order:
        found.take("order", by_order(found.open_rows("layer"), found.free()))
    rows = tuple(
        MappedRow(row, found.roles[i], *found.taken.get(i, ((), "")))
        for i, row in enumerate(profile.rows)
    )
    return ProfileMapping(network, profile, rows)


class _Found:
    """What the rules have found so far; a less certain rule gives a row no layer that is taken."""

    def __init__(self, network: NetworkDescription, rows: Sequence[Measurement]) -> None:
        self.network, self.rows = network, rows
        self.roles = [role_of(row) for row in rows]
        self.taken: dict[int, tuple[tuple[str, ...], str]] = {}

    def open_rows(self, *roles: Role) -> list[tuple[int, Measurement]]:
        """Rows of these roles that are no layer yet."""
        return [
            (i, row)
            for i, row in enumerate(self.rows)
            if i not in self.taken and self.roles[i] in roles
        ]

    def free(self) -> list[LayerDescription]:
        """Layers that no row is yet, in the network's order."""
        taken = {name for layers, _ in self.taken.values() for name in layers}
        return [layer for layer in self.network if layer.name not in taken]

    def free_names(self) -> list[str]:
        """Their names."""
        return [layer.name for layer in self.free()]

    def take(self, rule: str, proposed: Proposal, *, shared: bool = False) -> None:
        """Keep what a rule proposes, as far as it is certain enough."""
        proposed = settled(proposed, self.rows)
        if not shared and rule not in CERTAIN:
            claims = Counter(name for layers in proposed.values() for name in layers)
            free = {name for name in self.free_names() if claims[name] == 1}
            proposed = {i: layers for i, layers in proposed.items() if free.issuperset(layers)}
        self.taken |= {i: (layers, rule) for i, layers in proposed.items() if layers}


def _layer_time(name: str, rows: Sequence[tuple[MappedRow, Fraction]]) -> LayerTime:
    spreads = [
        None if row.measurement.spread_us is None else row.measurement.spread_us * part
        for row, part in rows
    ]
    computing = [row.measurement for row, _ in rows if row.role != "conversion"]
    computed_in = {row.details.get("computed_in", "") for row in computing} - {""}
    return LayerTime(
        layer=name,
        time_us=sum((row.measurement.time_us * part for row, part in rows), Fraction(0)),
        spread_us=sum((s for s in spreads if s is not None), Fraction(0))
        if None not in spreads
        else None,
        shared=any(len(row.layers) > 1 for row, _ in rows),
        computed_in=tuple(sorted(computed_in)),
    )


def _shares(layers: Sequence[LayerDescription]) -> list[Fraction]:
    """Parts of a row's time by multiply-adds; equal parts where there are none."""
    macs = sum(layer.macs for layer in layers)
    return [Fraction(layer.macs, macs) if macs else Fraction(1, len(layers)) for layer in layers]


def _sum(rows: Iterable[MappedRow]) -> Fraction:
    return sum((row.measurement.time_us for row in rows), Fraction(0))
