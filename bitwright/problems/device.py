"""What a device can do: which bits it stores, in which type it computes them, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, get_args

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.precision import Precision

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
    (False). `runs_as` maps every storable precision to the name of a compute type.
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

    Raises `InputError` where an entry names a compute type that is not there, and for two of a name.
    """

    name: str
    title: str
    compute_types: tuple[ComputeType, ...]
    support: tuple[Support, ...]
    memories: tuple[Memory, ...] = ()
    layer_overhead_us: Figure | None = None

    def __post_init__(self) -> None:
        for key in ("compute_types", "support", "memories"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        names = [compute.name for compute in self.compute_types]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"device {self.name!r}: compute type {name!r} is given twice")
        for entry in self.support:
            for precision, name in entry.runs_as.items():
                if name not in names:
                    raise InputError(
                        f"device {self.name!r}: {precision} runs as unknown compute type {name!r}; "
                        f"{nearest(name, names)}"
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
        return self.storable(kind, depthwise=depthwise).get(precision)

    def table_precision(
        self, kind: str, precision: Precision, *, depthwise: bool = False
    ) -> Precision | None:
        """The precision under which tables list what a precision runs as; None: not storable."""
        name = self.runs_as(kind, precision, depthwise=depthwise)
        if name is None:
            return None
        return self.compute_type(name).precision or precision
