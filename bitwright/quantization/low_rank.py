"""Truncated SVD: a fully connected layer's weight as the product of two quantized factors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from bitwright.problems.errors import InputError
from bitwright.problems.precision import FLOAT_BITS, Precision
from bitwright.problems.variants import most_useful_rank, svd_rank
from bitwright.quantization.calibration import Calibration
from bitwright.quantization.grids import QuantizationGrid
from bitwright.quantization.quantizers import GridQuantizer, Quantizer

GridMaker = Callable[[Tensor], QuantizationGrid]


def offered_ranks(outputs: int, inputs: int, shares: Iterable[float]) -> tuple[int, ...]:
    """Ranks at shares of the break-even rank mn / (m + n), ascending, each once.

    Every rank is at least 1 and below break-even; a matrix without such a rank gets none.
    """
    most, even = most_useful_rank(outputs, inputs), outputs * inputs / (outputs + inputs)
    if most < 1:
        return ()
    return tuple(sorted({min(max(int(share * even), 1), most) for share in shares}))


class LowRankWeight(Quantizer):
    """Turns a weight W, shape (m, n), into the product of two factors of rank K, each quantized.

    The factors are U sqrt(S), shape (m, K), and sqrt(S) V^T, shape (K, n), of the singular value
    decomposition W ~ U S V^T at birth, which is the closest matrix of rank K (Eckart & Young 1936).
    Both are linear in W, through fixed matrices:

        U sqrt(S) = W V S^(-1/2),    sqrt(S) V^T = S^(-1/2) U^T W

    so that gradients reach W through both, and no decomposition is differentiated. `grid_of` makes
    the grid of a factor, None leaves them in float32; `left` and `right` are their quantizers.
    """

    to_left: Tensor
    to_right: Tensor

    def __init__(self, weight: Tensor, rank: int, grid_of: GridMaker | None) -> None:
        super().__init__()
        u, s, vt = torch.linalg.svd(weight.detach().double(), full_matrices=False)
        u, s, vt = u[:, :rank], s[:rank], vt[:rank]
        # What a singular value of zero stands for is zero in W as well: nothing to be divided.
        known = s > torch.finfo(torch.float32).eps * s[0]
        root = torch.where(known, s, torch.ones_like(s)).rsqrt() * known
        self.register_buffer("to_left", (vt.T * root).float())
        self.register_buffer("to_right", (root[:, None] * u.T).float())
        self.rank = rank
        self.left = self.right = None
        if grid_of is not None:
            left, right = self._factors(weight.detach().float())
            self.left, self.right = GridQuantizer(grid_of(left)), GridQuantizer(grid_of(right))

    @property
    def grid(self) -> QuantizationGrid:
        """Not one grid but two, `left.grid` and `right.grid`: raises `InputError`."""
        raise InputError(
            f"a weight of variant 'svd-{self.rank}' has two grids, one for each of its factors"
        )

    def factors(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The quantized factors of the weight, shapes (m, K) and (K, n)."""
        left, right = self._factors(weight)
        return (
            left if self.left is None else self.left(left),
            right if self.right is None else self.right(right),
        )

    def forward(self, weight: Tensor) -> Tensor:
        """The product of the quantized factors, in the weight's own shape."""
        left, right = self.factors(weight)
        return left @ right

    def _factors(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return weight @ self.to_left.to(weight.dtype), self.to_right.to(weight.dtype) @ weight


def low_rank_weight(layer: str, precision: Precision, calibration: Calibration) -> LowRankWeight:
    """The low-rank form of a calibrated layer's weight; its grids are made as those of weights.

    Raises `InputError` for a weight that is no matrix and for a rank above its smaller side.
    """
    rank, weight = svd_rank(precision.variant), calibration.weights[layer]
    assert rank is not None, "only svd-K has factors"
    if weight.ndim != 2:
        raise InputError(
            f"layer {layer!r}: {precision} needs a Linear layer, got weights of shape {tuple(weight.shape)}"
        )
    if rank > min(weight.shape):
        raise InputError(
            f"layer {layer!r}: the rank of {precision} must be at most {min(weight.shape)}, "
            f"the smaller side of its weight {tuple(weight.shape)}"
        )

    def grid_of(factor: Tensor) -> QuantizationGrid:
        # Under a name of its own, so that it is not taken for the weight of the whole layer.
        name = f"{layer} (factor)"
        alone = replace(calibration, weights={name: factor}, channel_axes={name: 0})
        return alone.weight_grid(name, precision.weight_bits)

    return LowRankWeight(weight, rank, None if precision.weight_bits == FLOAT_BITS else grid_of)
