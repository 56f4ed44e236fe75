"""Quantizers: modules that round a tensor, as a parametrization of a weight or before a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bitwright.problems.errors import InputError
from bitwright.problems.precision import FLOAT_BITS, Precision
from bitwright.problems.variants import check_variant
from bitwright.quantization.calibration import Calibration
from bitwright.quantization.grids import (
    LEAST_ACTIVATION_BITS,
    LEAST_WEIGHT_BITS,
    MOST_BITS,
    QuantizationGrid,
    fake_quantize,
)

FLOAT_TYPES = {"float": torch.float16, "bfloat": torch.bfloat16}
"""What 16 bits mean in a precision of this variant."""


class Quantizer(nn.Module):
    """Base of the modules that quantize; a model that holds one is a quantized model."""


class GridQuantizer(Quantizer):
    """Rounds to a grid, whose scale and zero point are buffers."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, grid: QuantizationGrid) -> None:
        super().__init__()
        self.register_buffer("scale", grid.scale.clone())
        self.register_buffer("zero_point", grid.zero_point.clone())
        self.quant_min, self.quant_max = grid.quant_min, grid.quant_max
        self.channel_axis = grid.channel_axis

    @property
    def grid(self) -> QuantizationGrid:
        """The grid as it is now."""
        return QuantizationGrid(
            self.scale, self.zero_point, self.quant_min, self.quant_max, self.channel_axis
        )

    def forward(self, tensor: Tensor) -> Tensor:
        """Round the tensor to the grid."""
        return fake_quantize(tensor, self.grid)


class FloatQuantizer(Quantizer):
    """Rounds to a shorter floating-point type; the gradient passes."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, tensor: Tensor) -> Tensor:
        """Round the tensor to the type and return it in its own."""
        rounded: Tensor = _RoundToType.apply(tensor, self.dtype)  # type: ignore[no-untyped-call]
        return rounded


class _RoundToType(torch.autograd.Function):
    """A cast there and back, whose gradient is not rounded in turn."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, dtype: torch.dtype) -> Tensor:  # noqa: ARG004
        return tensor.to(dtype).to(tensor.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return gradient, None


def layer_quantizers(
    layer: str, precision: Precision, calibration: Calibration
) -> tuple[Quantizer | None, Quantizer | None]:
    """Quantizers of a layer's weight and input; None for a side that stays in float32."""
    dtype = _float_type(layer, precision)

    def quantizer(bits: int, grid: Callable[[str, int], QuantizationGrid]) -> Quantizer | None:
        if bits == FLOAT_BITS:
            return None
        if bits == 16 and dtype is not None:
            return FloatQuantizer(dtype)
        return GridQuantizer(grid(layer, bits))

    return (
        quantizer(precision.weight_bits, calibration.weight_grid),
        quantizer(precision.activation_bits, calibration.activation_grid),
    )


def require_quantizable(layer: str, precision: Precision) -> None:
    """Raise `InputError` for a precision that no quantizer carries out."""
    is_cast = _float_type(layer, precision) is not None
    for side, bits, least in (
        ("weight", precision.weight_bits, LEAST_WEIGHT_BITS),
        ("activation", precision.activation_bits, LEAST_ACTIVATION_BITS),
    ):
        if bits == FLOAT_BITS or (is_cast and bits == 16):
            continue
        if not least <= bits <= MOST_BITS:
            raise InputError(
                f"layer {layer!r}: {side}_bits of {precision} must be from {least} to {MOST_BITS}, "
                f"or {FLOAT_BITS} to leave them in float32"
            )


def _float_type(layer: str, precision: Precision) -> torch.dtype | None:
    check_variant(layer, precision)
    return FLOAT_TYPES.get(precision.variant)
