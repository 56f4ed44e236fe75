"""The types of ONNX that codes are stored in, and their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import InputError
from bitwright.problems.storage import STORED_BITS, stored_bits


@dataclass(frozen=True, slots=True)
class IntegerType:
    """An integer type of ONNX; `opset` is the first that takes it in (De)QuantizeLinear."""

    name: str
    bits: int
    low: int
    high: int
    opset: int

    @property
    def label(self) -> str:
        """Its name in small letters."""
        return self.name.lower()


_FIRST_OPSET = {2: 25, 4: 21, 8: 13, 16: 21}
UNSIGNED = {b: IntegerType(f"UINT{b}", b, 0, 2**b - 1, _FIRST_OPSET[b]) for b in STORED_BITS}
SIGNED = {
    b: IntegerType(f"INT{b}", b, -(2 ** (b - 1)), 2 ** (b - 1) - 1, _FIRST_OPSET[b])
    for b in STORED_BITS
}


def integer_type(quant_min: int, quant_max: int, layer: str, *, least_bits: int = 0) -> IntegerType:
    """The narrowest type of `least_bits` or more that holds the codes; `InputError` above 16 bits."""
    for known in (UNSIGNED if quant_min >= 0 else SIGNED).values():
        if known.bits >= least_bits and known.low <= quant_min and quant_max <= known.high:
            return known
    raise InputError(
        f"layer {layer!r}: codes from {quant_min} to {quant_max} take {code_bits(quant_min, quant_max)} "
        "bits; the widest integer type of ONNX's QuantizeLinear has 16"
    )


def code_bits(quant_min: int, quant_max: int) -> int:
    """Bits that the codes of a grid take, signed where one is negative; a narrow range counts whole.

    >>> code_bits(-7, 7), code_bits(0, 15), code_bits(-128, 127)
    (4, 4, 8)
    """
    if quant_min >= 0:
        return max(quant_max.bit_length(), 1)
    return max((-quant_min - 1).bit_length(), quant_max.bit_length()) + 1


def raw_bytes(codes: NDArray[Any], kind: IntegerType) -> bytes:
    """Codes as ONNX stores them, packed from the lowest bits of each byte on."""
    flat = codes.ravel()
    if kind.bits >= 8:
        return flat.astype(f"<{'u' if kind.low == 0 else 'i'}{kind.bits // 8}").tobytes()
    each = 8 // kind.bits
    padded = np.zeros(-(-flat.size // each) * each, dtype=np.uint8)
    padded[: flat.size] = flat.astype(np.int64) & (2**kind.bits - 1)
    shifts = np.arange(each, dtype=np.uint8) * kind.bits
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(padded.reshape(-1, each) << shifts, axis=1)
    return packed.astype(np.uint8).tobytes()


__all__ = ["IntegerType", "code_bits", "integer_type", "raw_bytes", "stored_bits"]
