"""A precision: with how many bits one part of a network stores its weights and reads its input."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bitwright.problems.errors import InputError

FLOAT_BITS = 32
_LABEL = re.compile(r"w(\d{1,2})a(\d{1,2})(?:-(.+))?")
_VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,31}")


@dataclass(frozen=True, order=True, slots=True)
class Precision:
    """Bits of the weights and of the input activations of one layer, with an optional variant.

    32 bits means left in float32; 16 bits with variant `float` is float16, with `bfloat` bfloat16.
    The order is by weight bits, then activation bits, then variant.

    >>> Precision(4, 8)
    Precision('w4a8')
    >>> Precision.parse("w16a16-float").variant
    'float'
    """

    weight_bits: int
    activation_bits: int
    variant: str = ""

    def __post_init__(self) -> None:
        for field in ("weight_bits", "activation_bits"):
            bits = getattr(self, field)
            if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= FLOAT_BITS:
                raise InputError(f"{field} must be an integer from 1 to {FLOAT_BITS}, got {bits!r}")
        if not isinstance(self.variant, str) or (
            self.variant and not _VARIANT.fullmatch(self.variant)
        ):
            raise InputError(
                "variant must be a short label of letters, digits, '_', '.', '+' and '-', "
                f"got {self.variant!r}"
            )

    @classmethod
    def parse(cls, label: str) -> Precision:
        """Read a label such as `w4a8` or `w16a16-float`; raises `InputError` on anything else."""
        match = _LABEL.fullmatch(label) if isinstance(label, str) else None
        if match is None:
            raise InputError(f"a precision is written like 'w4a8' or 'w16a16-float', got {label!r}")
        return cls(int(match[1]), int(match[2]), match[3] or "")

    @property
    def label(self) -> str:
        """The short form, such as `w4a8`; `Precision.parse` reads it back."""
        suffix = f"-{self.variant}" if self.variant else ""
        return f"w{self.weight_bits}a{self.activation_bits}{suffix}"

    @property
    def is_float32(self) -> bool:
        """Whether the layer is left as it was trained."""
        return self.weight_bits == self.activation_bits == FLOAT_BITS and not self.variant

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        return f"Precision({self.label!r})"


FLOAT32 = Precision(FLOAT_BITS, FLOAT_BITS)


@dataclass(frozen=True, slots=True)
class LeastPrecision:
    """At least so many bits on either side, written like `>=w4a8`; 32 bits are allowed too."""

    precision: Precision

    @property
    def label(self) -> str:
        """The short form; `parse_pin` reads it back."""
        return f">={self.precision.label}"

    def allows(self, precision: Precision) -> bool:
        """Whether neither side has fewer bits."""
        least = self.precision
        return (
            precision.weight_bits >= least.weight_bits
            and precision.activation_bits >= least.activation_bits
        )

    def __str__(self) -> str:
        return self.label


def parse_pin(label: str) -> Precision | LeastPrecision:
    """Read a pin: a precision such as `w8a8`, or a least one such as `>=w4a8`."""
    if isinstance(label, str) and label.startswith(">="):
        return LeastPrecision(Precision.parse(label[2:].strip()))
    return Precision.parse(label)
