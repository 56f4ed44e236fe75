"""Clipping rules: how much of the range of values a grid covers.

A weight rule takes rows of weights, one per channel, shape (channels, values), and returns what each
channel keeps, `max_abs`, shape (channels,). An activation rule takes observed values and returns
the range that is kept. A new rule is a function in one of the tables at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bitwright.quantization.grids import QuantizationGrid, affine_grid, symmetric_grid
from bitwright.quantization.observers import ObservedValues

CLIP_FACTORS = tuple((100 - step) / 100 for step in range(81))
"""Parts of the full range that the `mse` rules try: 1, 0.99, ..., 0.2; on ties the widest wins."""

WeightRule = Callable[[Tensor, int], Tensor]
ActivationRule = Callable[[ObservedValues, int], tuple[Tensor, Tensor]]


def full_weights(rows: Tensor, bits: int) -> Tensor:  # noqa: ARG001 - the same at every bit-width
    """Keep everything."""
    return rows.abs().amax(dim=1)


def least_error_weights(rows: Tensor, bits: int) -> Tensor:
    """Keep, per channel, the part of the range that leaves the least squared error."""
    full = rows.abs().amax(dim=1)
    errors = torch.stack([_errors(rows, symmetric_grid(t * full, bits)) for t in CLIP_FACTORS])
    return full * _best_factor(errors)


def full_activations(
    observed: ObservedValues,
    bits: int,  # noqa: ARG001 - the same at every bit-width
) -> tuple[Tensor, Tensor]:
    """Keep everything."""
    return observed.minimum, observed.maximum


def least_error_activations(observed: ObservedValues, bits: int) -> tuple[Tensor, Tensor]:
    """Shrink both ends by the factor that leaves the least squared error on the sample."""
    low, high, row = observed.minimum, observed.maximum, observed.sample[None]
    errors = [_errors(row, affine_grid(t * low, t * high, bits)) for t in CLIP_FACTORS]
    (factor,) = _best_factor(torch.stack(errors))
    return low * factor, high * factor


WEIGHT_RULES: dict[str, WeightRule] = {"minmax": full_weights, "mse": least_error_weights}
ACTIVATION_RULES: dict[str, ActivationRule] = {
    "minmax": full_activations,
    "mse": least_error_activations,
}


def _errors(rows: Tensor, grid: QuantizationGrid) -> Tensor:
    """Norm of the error of every row on the grid, shape (rows,).

    Written out because torch's `fake_quantize_per_channel_affine` is several times slower.
    """
    scale, zero_point = grid.scale.reshape(-1, 1), grid.zero_point.reshape(-1, 1)
    codes = (rows * scale.reciprocal()).round_().add_(zero_point)
    levels = codes.clamp_(grid.quant_min, grid.quant_max).sub_(zero_point).mul_(scale)
    norms: Tensor = torch.linalg.vector_norm(levels.sub_(rows), dim=1)
    return norms


def _best_factor(errors: Tensor) -> Tensor:
    """The clip factor of least error, for errors of shape (factors, rows)."""
    return torch.tensor(CLIP_FACTORS, device=errors.device)[errors.argmin(dim=0)]
