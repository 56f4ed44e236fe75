"""Truncated SVD: a fully connected layer's weight as the product of two quantized factors."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from bitwright.problems.errors import InputError
from bitwright.problems.precision import FLOAT_BITS, Precision
from bitwright.problems.variants import most_useful_rank, svd_rank
from bitwright.quantization.calibration import Calibration
from bitwright.quantization.clipping import WEIGHT_RULES, full_weights
from bitwright.quantization.grids import QuantizationGrid, symmetric_grid
from bitwright.quantization.quantizers import GridQuantizer, Quantizer


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

    so that gradients reach W through both, and no decomposition is differentiated. Each factor has
    one scale per row; `left` and `right` are their quantizers, None for factors in float32.
    """

    to_left: Tensor
    to_right: Tensor

    def __init__(self, weight: Tensor, rank: int, bits: int, weight_rule: str) -> None:
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
        if bits != FLOAT_BITS:
            left, right = self._factors(weight.detach().float())
            self.left = _row_quantizer(left, bits, weight_rule)
            self.right = _row_quantizer(right, bits, weight_rule)

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
    """The low-rank form of a calibrated layer's weight; ranges by the calibration's weight rule.

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
    return LowRankWeight(weight, rank, precision.weight_bits, calibration.weight_rule)


def _row_quantizer(factor: Tensor, bits: int, weight_rule: str) -> GridQuantizer:
    # A rule that reads ranges from elsewhere knows nothing of factors: these keep their full range.
    rule = WEIGHT_RULES.get(weight_rule, full_weights)
    return GridQuantizer(symmetric_grid(rule(factor, bits), bits, 0))
