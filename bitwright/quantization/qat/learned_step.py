"""Quantizers whose step is trained: LSQ, LSQ+ with an offset, PACT with a clip.

The step is the calibrated one times exp(`log_step`): it starts at the calibrated step exactly, stays
positive, and a learning rate changes it by parts of itself, whatever its size (training thresholds
in the log domain: Jain et al. 2019, "Trained Quantization Thresholds").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bitwright.problems.errors import InputError
from bitwright.quantization.grids import QuantizationGrid
from bitwright.quantization.quantizers import IntegerQuantizer
from bitwright.quantization.rounding import round_by_learned_step, round_within_clip


class LearnedStepQuantizer(IntegerQuantizer):
    """LSQ (Esser et al. 2020): the gradient of the step is scaled by 1 / sqrt(n Qp).

    n counts the values that share a step: weights of a channel, inputs of one sample where
    `batched`. Zero points stay as calibrated. Raises `InputError` for per-channel zero points.
    """

    initial_step: Tensor
    zero_point: Tensor

    def __init__(self, grid: QuantizationGrid, *, batched: bool = False) -> None:
        super().__init__()
        if grid.channel_axis is not None and grid.zero_point.any():
            raise InputError("a learned step per channel needs a symmetric grid")
        self.register_buffer("initial_step", grid.scale.clone())
        self.register_buffer("zero_point", grid.zero_point.clone())
        self.log_step = nn.Parameter(torch.zeros_like(grid.scale))
        self.quant_min, self.quant_max = grid.quant_min, grid.quant_max
        self.channel_axis, self.batched = grid.channel_axis, batched

    def start(self, grid: QuantizationGrid) -> None:
        """Begin anew at a grid of the same codes."""
        with torch.no_grad():
            self.initial_step.copy_(grid.scale)
            self.zero_point.copy_(grid.zero_point)
            self.log_step.zero_()

    @property
    def step(self) -> Tensor:
        """The step as it is now, with its gradient."""
        return self.initial_step * self.log_step.exp()

    @property
    def grid(self) -> QuantizationGrid:
        """The grid as it is now."""
        return QuantizationGrid(
            self.step.detach(), self.zero_point, self.quant_min, self.quant_max, self.channel_axis
        )

    def forward(self, tensor: Tensor) -> Tensor:
        """Round the tensor to the grid."""
        lower, upper = self._ends()
        return round_by_learned_step(
            tensor,
            self.step,
            lower,
            upper,
            self.channel_axis,
            gradient_scale=self._gradient_scale(tensor),
        )

    def _ends(self) -> tuple[int, int]:
        """Lowest and highest level, in steps from zero."""
        zero = int(self.zero_point) if self.channel_axis is None else 0
        return self.quant_min - zero, self.quant_max - zero

    def _gradient_scale(self, tensor: Tensor) -> float:
        lower, upper = self._ends()
        groups = len(tensor) if self.batched else self.initial_step.numel()
        return 1 / math.sqrt(max(1, tensor.numel() // max(1, groups)) * max(upper, -lower))


class LearnedOffsetQuantizer(LearnedStepQuantizer):
    """LSQ+ (Bhalgat et al. 2020) for activations: the step and an offset are trained.

    `offset` is a part of the grid's width, 0 at the start. It takes effect in whole steps and keeps
    zero a level, so that zero padding stays exact and the grid can be exported with an integer zero
    point; its gradient is the paper's.
    """

    def __init__(self, grid: QuantizationGrid, *, batched: bool = False) -> None:
        super().__init__(grid, batched=batched)
        self.offset = nn.Parameter(torch.zeros(()))

    def start(self, grid: QuantizationGrid) -> None:
        """Begin anew at a grid of the same codes."""
        super().start(grid)
        with torch.no_grad():
            self.offset.zero_()

    @property
    def grid(self) -> QuantizationGrid:
        """The grid as it is now, the offset in its zero point."""
        return QuantizationGrid(
            self.step.detach(), self.zero_point - self._moved(), self.quant_min, self.quant_max
        )

    def forward(self, tensor: Tensor) -> Tensor:
        """Round the tensor to the moved grid."""
        lower, upper = self._ends()
        return round_by_learned_step(
            tensor,
            self.step,
            lower,
            upper,
            gradient_scale=self._gradient_scale(tensor),
            moved=self._moved(),
            shift=self.offset * (self.quant_max - self.quant_min),
        )

    def _moved(self) -> int:
        lower, upper = self._ends()
        steps = round(float(self.offset.detach()) * (self.quant_max - self.quant_min))
        return min(max(steps, -upper), -lower)


class LearnedClipQuantizer(LearnedStepQuantizer):
    """PACT (Choi et al. 2018) for activations: the clip is trained, by the values beyond it.

    Where the grid reaches below zero, that end moves with the clip in proportion.
    """

    @property
    def clip(self) -> Tensor:
        """The clip as it is now: the end of the range that is farther from zero."""
        lower, upper = self._ends()
        return self.step * max(upper, -lower)

    def forward(self, tensor: Tensor) -> Tensor:
        """Clip the tensor and round it to the grid."""
        return round_within_clip(tensor, self.step, *self._ends())
