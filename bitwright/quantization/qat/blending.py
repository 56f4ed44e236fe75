"""Alpha-blending: from the float network to the quantized one by degrees (Xiao et al. 2024).

A tensor t becomes alpha * Q(t) + (1 - alpha) * t. The quantized part of a weight is held constant, so
that no straight-through estimate is needed: its gradient is (1 - alpha) times that of the blend.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bitwright.problems.errors import InputError
from bitwright.quantization.grids import QuantizationGrid
from bitwright.quantization.quantizers import IntegerQuantizer


class BlendingQuantizer(IntegerQuantizer):
    """Blends a tensor with what another quantizer makes of it; alpha is 0 at the start.

    `held` says that the quantized part passes no gradient, as for weights. With alpha 0 the tensor
    itself comes back, with alpha 1 the other quantizer's answer, bit for bit.
    """

    quantizer: IntegerQuantizer
    alpha: Tensor

    def __init__(self, quantizer: IntegerQuantizer, *, held: bool) -> None:
        super().__init__()
        self.quantizer, self.held = quantizer, held
        self.register_buffer("alpha", torch.zeros(()))

    def start(self, grid: QuantizationGrid) -> None:
        """Begin anew at a grid of the same codes; alpha stays."""
        self.quantizer.start(grid)

    @property
    def grid(self) -> QuantizationGrid:
        """The grid as it is now."""
        return self.quantizer.grid

    def forward(self, tensor: Tensor) -> Tensor:
        """Blend the tensor with its quantized self."""
        alpha = float(self.alpha)
        if alpha == 0:
            return tensor
        quantized: Tensor = self.quantizer(tensor.detach() if self.held else tensor)
        if self.held:
            quantized = quantized.detach()
        return quantized if alpha == 1 else alpha * quantized + (1 - alpha) * tensor


def blending_quantizers(model: nn.Module) -> list[BlendingQuantizer]:
    """The blending quantizers of a model; none but under the estimator `alpha`."""
    return [module for module in model.modules() if isinstance(module, BlendingQuantizer)]


def set_alpha(model: nn.Module, alpha: float) -> None:
    """Set how far a model is quantized: 0 is the float network, 1 the quantized one."""
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must be from 0 to 1, got {alpha}")
    for quantizer in blending_quantizers(model):
        quantizer.alpha.fill_(alpha)


def alpha_at(time: float, start: float, end: float) -> float:
    """1 - ((end - time) / (end - start))^3 between start and end, 0 before and 1 after."""
    if time >= end:
        return 1.0
    return 0.0 if time <= start else 1 - ((end - time) / (end - start)) ** 3
