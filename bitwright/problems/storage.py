"""How many bytes numbers of a bit-width take in a file, and how many numbers share a scale."""

from __future__ import annotations

from bitwright.problems.errors import InputError

STORED_BITS = (2, 4, 8, 16)
"""Widths of ONNX's integer types that `QuantizeLinear` and `DequantizeLinear` take."""


def stored_bits(bits: int) -> int:
    """Width of the narrowest type that holds codes of so many bits; `InputError` above 16.

    >>> [stored_bits(bits) for bits in (2, 3, 5, 8, 9)]
    [2, 4, 8, 8, 16]
    """
    for width in STORED_BITS:
        if bits <= width:
            return width
    raise InputError(f"no integer type of ONNX stores codes of {bits} bits; the widest has 16")


def packed_bytes(count: int, bits: int) -> int:
    """Bytes of so many codes packed together, the last byte filled up.

    >>> packed_bytes(9, 4), packed_bytes(9, 2), packed_bytes(9, 8)
    (5, 3, 9)
    """
    return -(-count * bits // 8)


GRANULARITIES = {"channel": 1, "tensor": None}
"""How many output channels share a scale; `group:N` stands for any other number."""


def group_size(granularity: str) -> int | None:
    """How many output channels share a scale of the weights; None for all of them."""
    if granularity in GRANULARITIES:
        return GRANULARITIES[granularity]
    kind, _, size = granularity.partition(":")
    if kind != "group" or not size.isdecimal() or not int(size):
        raise InputError(
            f"weight_granularity {granularity!r} must be 'tensor', 'channel', or the channels of a "
            "group, such as 'group:16'"
        )
    return int(size)
