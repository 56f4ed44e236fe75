"""The protocols of cost models: what every one can say, and what some can say beyond that.

A cost model that does more than add up layers has further methods; `tabulate` finds them. Nothing
has to be declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bitwright.problems.device import Device
from bitwright.problems.exact import Number
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.precision import Precision
from bitwright.problems.terms import Peak

Candidates = Mapping[str, tuple[Precision, ...]]


@runtime_checkable
class CostModel(Protocol):
    """Tabulates what each precision of each layer costs."""

    name: str
    """Name of the cost with its unit, such as `latency_us`."""

    def cost(self, layer: LayerDescription, precision: Precision) -> Number:
        """Cost of the layer at the precision, not negative; raises `InputError` when it is unknown."""

    def fixed_cost(self, network: NetworkDescription) -> Number:
        """Cost of what is no decision, added to every total; 0 where there is none."""


@runtime_checkable
class NeedsNetwork(Protocol):
    """A model whose costs depend on the whole network, or on the device that the run names."""

    def for_network(self, network: NetworkDescription, device: Device | None) -> CostModel:
        """The model to ask about this network; raises `InputError` where it cannot serve it."""


@dataclass(frozen=True, slots=True)
class CostInteraction:
    """What is added when one layer takes its candidate a and another its candidate b.

    `amounts[a][b]` follows the order of the candidates of both layers; none is negative.
    """

    layers: tuple[str, str]
    amounts: tuple[tuple[Number, ...], ...]


@runtime_checkable
class HasInteractions(Protocol):
    """A model that charges for pairs of choices, such as a change of precision between layers."""

    def interactions(
        self, network: NetworkDescription, candidates: Candidates
    ) -> Sequence[CostInteraction]:
        """The pairs that cost something."""


@runtime_checkable
class PeakModel(Protocol):
    """A cost that is no sum but the largest of several steps, such as memory in use at once."""

    name: str

    def peaks(self, network: NetworkDescription, candidates: Candidates) -> Sequence[Peak]:
        """Steps by their layers, in bytes per activation bit; all are of the cost `name`."""


@dataclass(frozen=True, slots=True)
class CostSource:
    """Where a figure comes from: what the choice runs as, and how sure it is.

    `runs_as` names the device's compute type, `spread` is in the unit of the cost (what repeated
    measurements differ by), `interpolated` says that no such row was measured, and `text` is for
    people.
    """

    runs_as: str = ""
    spread: Number | None = None
    interpolated: bool = False
    text: str = ""


@runtime_checkable
class HasNotes(Protocol):
    """A model, of peaks too, that has something to say of its totals."""

    def notes(self) -> Sequence[str]:
        """What whoever reads the totals should know: device, date, factors, empty-run overhead.

        Asked last, so that notes can be on the figures that were given.
        """


@runtime_checkable
class HasSources(HasNotes, Protocol):
    """A model that knows where its figures come from."""

    def source(self, layer: LayerDescription, precision: Precision) -> CostSource:
        """What is known of one figure; raises `InputError` where `cost` does."""
