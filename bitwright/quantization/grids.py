"""Quantization grids: the values that an integer code can stand for, `scale * (code - zero_point)`.

Rounding to a grid is torch's `fake_quantize_*`, bit for bit; it multiplies by the float32 reciprocal
of the scale where ONNX divides, so a value half-way between two levels can come out one step apart.
Only where torch takes the lowest level they differ: NaN stays NaN, infinity goes to its own end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bitwright.problems.errors import InputError
from bitwright.quantization.rounding import round_to_grid

LEAST_WEIGHT_BITS = 2
"""Symmetric grids need a sign and a level."""

LEAST_ACTIVATION_BITS = 1

MOST_BITS = 24
"""Finest grid: float32 does not tell more levels apart."""

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, eq=False, slots=True)
class QuantizationGrid:
    """Codes `quant_min` to `quant_max`, with one scale, or with one per index of `channel_axis`.

    `scale` (float32) and `zero_point` (int32) have shape (), or (channels,).
    """

    scale: Tensor
    zero_point: Tensor
    quant_min: int
    quant_max: int
    channel_axis: int | None = None


def symmetric_grid(
    max_abs: Tensor, bits: int, channel_axis: int | None = None, *, narrow: bool = True
) -> QuantizationGrid:
    """Signed codes around zero, which is a level; both signs reach `max_abs`.

    Qn = Qp = 2^(bits-1) - 1, or Qn = 2^(bits-1) where not `narrow`. `max_abs` has shape (), or
    (channels,) with a `channel_axis`.
    """
    _check_bits(bits, least=LEAST_WEIGHT_BITS, kind="symmetric")
    top = 2 ** (bits - 1) - 1
    scale = (max_abs.float() / top).clamp(min=_TINY)
    lowest = -top if narrow else -top - 1
    return QuantizationGrid(
        scale, torch.zeros_like(scale, dtype=torch.int32), lowest, top, channel_axis
    )


def affine_grid(
    minimum: Tensor,
    maximum: Tensor,
    bits: int,
    channel_axis: int | None = None,
    *,
    signed: bool = False,
) -> QuantizationGrid:
    """A grid over a range that is widened to include zero, a level.

    Codes 0 to 2^bits - 1, or `signed` ones, 2^(bits-1) lower with the same levels. A range from zero
    up has zero point 0: the unsigned symmetric grid. `minimum` and `maximum` have shape (), or
    (channels,) with a `channel_axis`.
    """
    _check_bits(bits, least=LEAST_ACTIVATION_BITS, kind="affine")
    top = 2**bits - 1
    low = minimum.float().clamp(max=0)
    scale = ((maximum.float().clamp(min=0) - low) / top).clamp(min=_TINY)
    zero_point = (-torch.round(low / scale)).clamp(0, top).to(torch.int32)
    shift = 2 ** (bits - 1) if signed else 0
    return QuantizationGrid(scale, zero_point - shift, -shift, top - shift, channel_axis)


def fake_quantize(tensor: Tensor, grid: QuantizationGrid) -> Tensor:
    """Round to the nearest level; the gradient passes inside the grid and is 0 outside."""
    if (
        torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
    ):  # exporters know torch's functions
        return _fake_quantize_of_torch(tensor, grid)
    if grid.channel_axis is None:
        offset = int(grid.zero_point)
    elif grid.zero_point.any():
        return _fake_quantize_of_torch(tensor, grid)
    else:
        offset = 0
    lower, upper = grid.quant_min - offset, grid.quant_max - offset
    return round_to_grid(tensor, grid.scale, lower, upper, grid.channel_axis)


def _fake_quantize_of_torch(tensor: Tensor, grid: QuantizationGrid) -> Tensor:
    if grid.channel_axis is None:
        return torch.fake_quantize_per_tensor_affine(
            tensor, grid.scale, grid.zero_point, grid.quant_min, grid.quant_max
        )
    return torch.fake_quantize_per_channel_affine(
        tensor, grid.scale, grid.zero_point, grid.channel_axis, grid.quant_min, grid.quant_max
    )


def _check_bits(bits: int, *, least: int, kind: str) -> None:
    if not least <= bits <= MOST_BITS:
        raise InputError(f"a {kind} grid takes {least} to {MOST_BITS} bits, got {bits}")
