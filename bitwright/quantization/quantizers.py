"""Quantizers: modules that round a tensor, as a parametrization of a weight or before a layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bitwright.problems.errors import InputError, MeasurementError
from bitwright.problems.precision import FLOAT_BITS, Precision
from bitwright.problems.variants import check_variant
from bitwright.quantization.calibration import Calibration
from bitwright.quantization.functions import operands_of
from bitwright.quantization.grids import (
    LEAST_ACTIVATION_BITS,
    LEAST_WEIGHT_BITS,
    MOST_BITS,
    QuantizationGrid,
    fake_quantize,
)
from bitwright.quantization.ranges.clipping import (
    Scheme,
    activation_scheme_for,
    grid_of,
    keep_everything,
)
from bitwright.quantization.ranges.observers import ObservedValues

FLOAT_TYPES = {"float": torch.float16, "bfloat": torch.bfloat16}
"""What 16 bits mean in a precision of this variant."""


class Quantizer(nn.Module):
    """Base of the modules that quantize; a model that holds one is a quantized model."""


class IntegerQuantizer(Quantizer, ABC):
    """Base of those that round to integer codes, by whatever estimator they are trained."""

    @property
    @abstractmethod
    def grid(self) -> QuantizationGrid:
        """The grid as it is now."""

    @abstractmethod
    def start(self, grid: QuantizationGrid) -> None:
        """Begin anew at a grid of the same codes."""


class GridQuantizer(IntegerQuantizer):
    """Rounds to a grid, whose scale and zero point are buffers."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, grid: QuantizationGrid) -> None:
        super().__init__()
        self.register_buffer("scale", grid.scale.clone())
        self.register_buffer("zero_point", grid.zero_point.clone())
        self.quant_min, self.quant_max = grid.quant_min, grid.quant_max
        self.channel_axis = grid.channel_axis

    def start(self, grid: QuantizationGrid) -> None:
        """Begin anew at a grid of the same codes."""
        self.scale.copy_(grid.scale)
        self.zero_point.copy_(grid.zero_point)

    @property
    def grid(self) -> QuantizationGrid:
        """The grid as it is now."""
        return QuantizationGrid(
            self.scale, self.zero_point, self.quant_min, self.quant_max, self.channel_axis
        )

    def forward(self, tensor: Tensor) -> Tensor:
        """Round the tensor to the grid."""
        return fake_quantize(tensor, self.grid)


class DynamicQuantizer(Quantizer):
    """Rounds each tensor to the grid between its own extremes (dynamic range); the gradient passes."""

    def __init__(self, bits: int, scheme: Scheme) -> None:
        super().__init__()
        self.bits, self.scheme = bits, scheme
        self._grid: QuantizationGrid | None = None

    @property
    def grid(self) -> QuantizationGrid:
        """The grid of the last call; raises `MeasurementError` before the first."""
        if self._grid is None:
            raise MeasurementError("a dynamic range has no grid before the layer's first call")
        return self._grid

    def forward(self, tensor: Tensor) -> Tensor:
        """Round the tensor to its own grid; a tensor without values has none and stays."""
        if not tensor.numel():
            return tensor
        values = ObservedValues.of(tensor.detach().flatten())
        scheme = activation_scheme_for(self.scheme, values)
        self._grid = grid_of(keep_everything(values, self.bits, scheme), self.bits, scheme)
        return fake_quantize(tensor, self._grid)


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
    """Quantizers of a module's weight and input; None for a side that stays in float32."""

    def of_input(bits: int) -> QuantizationGrid:
        return calibration.activation_grid(layer, bits)

    return (
        weight_quantizer(layer, precision, calibration),
        _of_activation(layer, precision, precision.activation_bits, calibration, of_input),
    )


def weight_quantizer(
    layer: str, precision: Precision, calibration: Calibration
) -> Quantizer | None:
    """Quantizer of a layer's weight; None where it stays in float32."""
    dtype, bits = _float_type(layer, precision), precision.weight_bits
    if bits == FLOAT_BITS:
        return None
    if bits == 16 and dtype is not None:
        return FloatQuantizer(dtype)
    return GridQuantizer(calibration.weight_grid(layer, bits))


def operand_quantizers(
    layer: str, precision: Precision, calibration: Calibration
) -> dict[str, Quantizer]:
    """Quantizers of what a function reads and is no weight, by operand; float32 ones left out."""
    quantizers = {}
    for operand, side in operands_of(calibration.functions[layer]).items():
        bits = precision.weight_bits if side == "weight" else precision.activation_bits
        grid_of = partial(calibration.operand_grid, layer, operand)
        quantizer = _of_activation(layer, precision, bits, calibration, grid_of)
        if quantizer is not None:
            quantizers[operand] = quantizer
    return quantizers


def _of_activation(
    layer: str,
    precision: Precision,
    bits: int,
    calibration: Calibration,
    grid_of: Callable[[int], QuantizationGrid],
) -> Quantizer | None:
    dtype = _float_type(layer, precision)
    if bits == FLOAT_BITS:
        return None
    if bits == 16 and dtype is not None:
        return FloatQuantizer(dtype)
    if calibration.activation_ranges == "dynamic":
        return DynamicQuantizer(bits, calibration.activation_scheme)
    return GridQuantizer(grid_of(bits))


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


class OperandQuantizers(nn.Module):
    """The quantizers of what a function reads, for one layer; those of operands are its modules."""

    def __init__(self, layer: str, quantizers: Mapping[str, Quantizer | None]) -> None:
        super().__init__()
        self.layer = layer
        for operand, quantizer in quantizers.items():
            self.add_module(operand, quantizer)

    @property
    def quantizers(self) -> dict[str, Quantizer]:
        """The quantizers by operand."""
        return {name: q for name, q in self._modules.items() if isinstance(q, Quantizer)}

    def change(self, operand: str, tensor: Tensor) -> Tensor:
        """Round one operand, or leave it in float32."""
        quantizer = self._modules.get(operand)
        return tensor if quantizer is None else quantizer(tensor)
