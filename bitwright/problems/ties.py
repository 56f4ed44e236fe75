"""Ties: layers that must take the same precision, on both sides or on one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.precision import Precision

Side = Literal["all", "weight", "activation"]
SIDES: tuple[str, ...] = get_args(Side)


@dataclass(frozen=True, slots=True)
class Tie:
    """Layers bound to one choice (`all`) or to the same bits on one side (`weight`, `activation`)."""

    layers: tuple[str, ...]
    side: Side = "all"
    reason: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if len(self.layers) < 2 or len(set(self.layers)) != len(self.layers):
            raise InputError(f"a tie needs two or more different layers, got {list(self.layers)}")
        if self.side not in SIDES:
            raise InputError(
                f"tie of {list(self.layers)}: side {self.side!r} is unknown; {nearest(self.side, SIDES)}"
            )

    def key(self, precision: Precision) -> object:
        """What the tied layers must share of their precision."""
        if self.side == "weight":
            return precision.weight_bits
        if self.side == "activation":
            return precision.activation_bits
        return precision
