"""What a device can do: which bits it stores, in which type it computes them, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, get_args

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.network import LayerDescription
from bitwright.problems.precision import Precision
from bitwright.problems.variants import is_form

Scaling = Literal["fixed", "bit_serial", "weight_serial", "bit_fusion"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number about a device, and where it is published."""

    value: Fraction
    source: str

    def __post_init__(self) -> None:
        if self.value < 0:
            raise InputError(f"a figure of a device must not be negative, got {self.value}")
        if not self.source.strip():
            raise InputError("a figure of a device needs its source")


@dataclass(frozen=True, slots=True)
class ComputeType:
    """A type in which a device computes, such as `int8`.

    `precision` is the one under which tables of measured costs list it; None: it computes in the
    bits that are stored, whatever they are. Figures are for roofline estimates: peak multiply-adds
    per second and energy of one. `scaling` says what the peak means: `fixed`, the rate of this type;
    `bit_serial`, multiply-adds of 1 x 1 bit, so that the rate falls with weight bits times
    activation bits; `weight_serial`, of 1 weight bit; `bit_fusion`, of 2 x 2 bits, both sides
    rounded up to 2, 4, 8 or 16.
    """

    name: str
    precision: Precision | None = None
    scaling: Scaling = "fixed"
    macs_per_second: Figure | None = None
    energy_pj_per_mac: Figure | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("a compute type needs a name")
        if self.scaling not in get_args(Scaling):
            raise InputError(
                f"compute type {self.name!r}: unknown scaling {self.scaling!r}; "
                f"{nearest(self.scaling, get_args(Scaling))}"
            )


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory from which weights and activations are read; the nearest comes first.

    `size_bytes` None: large enough for every network.
    """

    name: str
    size_bytes: Figure | None = None
    bytes_per_second: Figure | None = None
    energy_pj_per_byte: Figure | None = None


@dataclass(frozen=True, slots=True)
class Support:
    """Precisions that layers of some kinds may be stored in, and what each runs as.

    `kinds` are those of `LayerDescription.kind`; empty: all that no other entry names. `depthwise`
    restricts the entry to convolutions whose groups are their input channels (True) or to all others
    (False). `runs_as` maps every storable precision to the name of a compute type. Forms of a
    precision, such as `w8a8-hybrid`, are stored and computed as it is and need not be listed.
    """

    runs_as: Mapping[Precision, str] = field(hash=False)
    kinds: tuple[str, ...] = ()
    depthwise: bool | None = None
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))
        object.__setattr__(self, "runs_as", dict(self.runs_as))
        if not self.runs_as:
            raise InputError("an entry of supported operations needs one precision or more")


@dataclass(frozen=True, slots=True)
class Device:
    """A device: compute types, what is stored and runs as what, memories, and fixed delays.

    `notes` say what whoever chooses bits for it should know. Raises `InputError` where an entry names
    a compute type that is not there, for two compute types or memories of a name, and for a
    precision that two entries give to the same layers.
    """

    name: str
    title: str
    compute_types: tuple[ComputeType, ...]
    support: tuple[Support, ...]
    memories: tuple[Memory, ...] = ()
    layer_overhead_us: Figure | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key in ("compute_types", "support", "memories", "notes"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        if not self.name or not self.title:
            raise InputError(
                f"a device needs a name and a title, got {self.name!r}, {self.title!r}"
            )
        names = [compute.name for compute in self.compute_types]
        for text in (self.name, self.title, *names, *(memory.name for memory in self.memories)):
            if not text.isprintable():  # they go to terminals and into tables
                raise InputError(f"names of a device are one line of printable text, got {text!r}")
        for what, given in (
            ("compute type", names),
            ("memory", [memory.name for memory in self.memories]),
        ):
            if twice := [name for name in given if given.count(name) > 1]:
                raise InputError(f"device {self.name!r}: {what} {twice[0]!r} is given twice")
        if not self.support:
            raise InputError(
                f"device {self.name!r} needs one entry of supported operations or more"
            )
        for entry in self.support:
            for precision, name in entry.runs_as.items():
                if name not in names:
                    raise InputError(
                        f"device {self.name!r}: {precision} runs as unknown compute type {name!r}; "
                        f"{nearest(name, names)}"
                    )
        for number, entry in enumerate(self.support):
            for other in self.support[:number]:
                self._check_apart(entry, other)

    def _check_apart(self, entry: Support, other: Support) -> None:
        shared = set(entry.kinds) & set(other.kinds)
        same_kinds = bool(shared) or not (entry.kinds or other.kinds)
        together = entry.depthwise is None or other.depthwise is None
        if same_kinds and (together or entry.depthwise == other.depthwise):
            for precision in entry.runs_as:
                if precision in other.runs_as:
                    kinds = ", ".join(sorted(shared)) or "every other kind"
                    raise InputError(
                        f"device {self.name!r}: {precision} is given twice for {kinds}"
                    )

    def compute_type(self, name: str) -> ComputeType:
        """The compute type of that name."""
        for compute in self.compute_types:
            if compute.name == name:
                return compute
        known = [compute.name for compute in self.compute_types]
        raise InputError(
            f"device {self.name!r} has no compute type {name!r}; {nearest(name, known)}"
        )

    def storable(self, kind: str, *, depthwise: bool = False) -> Mapping[Precision, str]:
        """Precisions that a layer of a kind may have, with the name of what each runs as."""
        found: dict[Precision, str] = {}
        named = [s for s in self.support if kind in s.kinds] or [
            s for s in self.support if not s.kinds
        ]
        for entry in named:
            if entry.depthwise is None or entry.depthwise == depthwise:
                found |= entry.runs_as
        return found

    def runs_as(self, kind: str, precision: Precision, *, depthwise: bool = False) -> str | None:
        """The name of the type in which a precision is computed; None where it cannot be stored."""
        storable = self.storable(kind, depthwise=depthwise)
        if precision not in storable and is_form(precision.variant):
            precision = replace(precision, variant="")
        return storable.get(precision)

    def layer_runs_as(self, layer: LayerDescription, precision: Precision) -> str | None:
        """The name of the type in which a layer is computed; None where it cannot be stored."""
        return self.runs_as(layer.kind, precision, depthwise=is_depthwise(layer))

    def table_precision(
        self, kind: str, precision: Precision, *, depthwise: bool = False
    ) -> Precision | None:
        """The precision under which tables list what a precision runs as; None: not storable.

        A form of a precision is the same form of what that runs as: `w4a8-svd-32`, which runs as
        `int8`, is `w8a8-svd-32`.
        """
        name = self.runs_as(kind, precision, depthwise=depthwise)
        if name is None:
            return None
        listed = self.compute_type(name).precision or precision
        return replace(listed, variant=precision.variant) if is_form(precision.variant) else listed

    def anywhere(self, precision: Precision) -> str | None:
        """What a precision runs as where nobody knows the layer's kind; None: stored nowhere.

        The entry for all other kinds speaks first, then the others in their order.
        """
        plain = replace(precision, variant="") if is_form(precision.variant) else precision
        for entry in sorted(self.support, key=lambda entry: bool(entry.kinds)):
            if name := entry.runs_as.get(precision) or entry.runs_as.get(plain):
                return name
        return None


def is_depthwise(layer: LayerDescription) -> bool:
    """Whether a layer is a convolution that gives every input channel filters of its own."""
    return layer.groups is not None and layer.groups > 1 and layer.groups == layer.in_channels
