"""How many bytes numbers of a bit-width take in a file whose types are 2, 4, 8 and 16 bits wide."""

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
