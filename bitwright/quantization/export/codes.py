"""Weights as integer codes and the grids that they index."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bitwright.problems.errors import InputError
from bitwright.quantization.grids import QuantizationGrid

_OFF_GRID = 0.01
"""Share of a step by which a weight may miss its level: float32 rounding, nothing else."""


@dataclass(frozen=True, eq=False)
class CodedWeight:
    """Integer codes in the weight's shape (int32), and the grid that they index.

    The value of a code is `scale * (code - zero_point)`; scale (float32) and zero point (int32)
    have shape () or (channels,), along `channel_axis`.
    """

    codes: NDArray[np.int32]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]
    quant_min: int
    quant_max: int
    channel_axis: int | None

    @property
    def values(self) -> NDArray[np.float32]:
        """The weights that the codes stand for."""
        scale, zero_point = self.scale, self.zero_point
        if self.channel_axis is not None:
            shape = [1] * self.codes.ndim
            shape[self.channel_axis] = -1
            scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
        return ((self.codes - zero_point).astype(np.float32) * scale).astype(np.float32)

    @property
    def transposed(self) -> CodedWeight:
        """The codes of the transposed matrix."""
        axis = self.channel_axis
        return replace(self, codes=self.codes.T, channel_axis=None if axis is None else 1 - axis)

    def times(self, factor: NDArray[np.float32], axis: int) -> CodedWeight:
        """With every channel along the axis multiplied: scales take that, codes but its sign."""
        shape = [1] * self.codes.ndim
        shape[axis] = -1
        mirror = self.quant_min + self.quant_max
        negative = factor < 0
        scale = np.broadcast_to(self.scale, factor.shape) * np.abs(factor)
        codes = np.where(negative.reshape(shape), mirror - self.codes, self.codes)
        zero_point = np.where(negative, mirror - self.zero_point, self.zero_point)
        dead = ~(scale >= np.finfo(np.float32).tiny)  # a factor of 0: the channel is its bias
        codes = np.where(dead.reshape(shape), zero_point.reshape(shape), codes)
        return CodedWeight(
            codes.astype(np.int32),
            np.where(dead, np.float32(1), scale).astype(np.float32),
            zero_point.astype(np.int32),
            self.quant_min,
            self.quant_max,
            axis,
        )


@dataclass(frozen=True, eq=False)
class FactoredWeight:
    """A matrix of shape (m, n) as the product of two of shapes (m, K) and (K, n), both in codes."""

    left: CodedWeight
    right: CodedWeight

    @property
    def rank(self) -> int:
        """The K of the factors."""
        return len(self.right.codes)

    @property
    def values(self) -> NDArray[np.float32]:
        """The product that the codes stand for."""
        return self.left.values @ self.right.values

    def times(self, factor: NDArray[np.float32], axis: int) -> FactoredWeight:
        """With every row multiplied, for which the left factor is enough."""
        return replace(self, left=self.left.times(factor, axis))


def coded(layer: str, weight: Tensor, grid: QuantizationGrid) -> CodedWeight:
    """The codes of a weight that lies on a grid; raises `InputError` for one that does not."""
    values = weight.detach().cpu().double().numpy()
    scale = grid.scale.detach().cpu().float().numpy()
    zero_point = grid.zero_point.detach().cpu().int().numpy()
    shape = [1] * values.ndim
    if grid.channel_axis is not None:
        shape[grid.channel_axis] = -1
    position = values / scale.astype(np.float64).reshape(shape) + zero_point.reshape(shape)
    codes = np.rint(position)
    if np.abs(position - codes).max(initial=0.0) > _OFF_GRID or not (
        grid.quant_min <= codes.min(initial=grid.quant_max)
        and codes.max(initial=grid.quant_min) <= grid.quant_max
    ):
        raise InputError(
            f"layer {layer!r}: its weights do not lie on their grid; a blend of float and "
            "quantized weights cannot be exported"
        )
    return CodedWeight(
        codes.astype(np.int32), scale, zero_point, grid.quant_min, grid.quant_max, grid.channel_axis
    )
