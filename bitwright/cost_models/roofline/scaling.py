"""How many elementary operations of a compute type one multiply-add of given bits takes."""

from __future__ import annotations

from bitwright.problems import InputError, Precision
from bitwright.problems.device import ComputeType, Scaling

_FUSED_WIDTHS = (2, 4, 8, 16)
_BRICK_BITS = 2


def operations_per_mac(compute: ComputeType, precision: Precision) -> int:
    """Elementary operations of one multiply-add, by the type's scaling; peak rates and energies count these.

    `fixed`: 1. `bit_serial`: weight bits times activation bits, one pass for every pair of bit planes
    (BISMO, Umuroglu et al., FPL 2018). `weight_serial`: weight bits, with activations in parallel
    (UNPU, Lee et al., ISSCC 2018). `bit_fusion`: bricks of 2 x 2 bits,
    both sides rounded up to 2, 4, 8 or 16 bits (Bit Fusion, Sharma et al., ISCA 2018: one 8 x 8 takes
    the sixteen bricks of a fusion unit, 2 x 2 one). A type with a precision of its own computes in it,
    whatever is stored. Raises `InputError` for more bits than bricks can be fused to.
    """
    bits = compute.precision or precision
    weight, activation = bits.weight_bits, bits.activation_bits
    counts: dict[Scaling, int] = {
        "fixed": 1,
        "bit_serial": weight * activation,
        "weight_serial": weight,
    }
    if compute.scaling in counts:
        return counts[compute.scaling]
    return _bricks(weight, compute, bits) * _bricks(activation, compute, bits)


def _bricks(bits: int, compute: ComputeType, precision: Precision) -> int:
    for width in _FUSED_WIDTHS:
        if bits <= width:
            return width // _BRICK_BITS
    raise InputError(
        f"compute type {compute.name!r} fuses bricks to at most {_FUSED_WIDTHS[-1]} bits, "
        f"got {precision}"
    )
