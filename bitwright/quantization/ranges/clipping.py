"""Clipping rules: how much of the range of values a grid covers, by name.

A rule takes observed values (of one tensor, or of every channel at once), the bits and the scheme of
the grid, and returns the lowest and the highest value that are kept, in the shape of the values'
extremes: around zero, `(-m, m)`, for a symmetric grid. A new rule is a function in the tables at the
end. docs/quantization.md says which rule to take when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from bitwright.problems.errors import InputError, nearest
from bitwright.quantization.grids import QuantizationGrid, affine_grid, symmetric_grid
from bitwright.quantization.ranges.aciq import gauss_clip, laplace_clip
from bitwright.quantization.ranges.entropy import entropy_threshold
from bitwright.quantization.ranges.observers import ObservedValues

CLIP_FACTORS = tuple((100 - step) / 100 for step in range(81))
"""Parts of the full range that `mse` tries: 1, 0.99, ..., 0.2; on ties the widest wins."""

PERCENTILE = 99.99
"""What `percentile` keeps; another share is written `percentile:99.9`."""

Scheme = Literal["symmetric", "affine"]
Range = tuple[Tensor, Tensor]
ClippingRule = Callable[[ObservedValues, int, Scheme], Range]


def keep_everything(values: ObservedValues, bits: int, scheme: Scheme) -> Range:  # noqa: ARG001
    """`minmax`: from the lowest to the highest value."""
    if scheme == "affine":
        return values.minimum, values.maximum
    largest = values.largest
    return -largest, largest


def least_error(values: ObservedValues, bits: int, scheme: Scheme) -> Range:
    """`mse`: shrink the range by the factor that leaves the least squared error on the sample."""
    low, high = keep_everything(values, bits, scheme)
    rows = values.sample.reshape(-1, values.sample.shape[-1])
    errors = []
    for factor in CLIP_FACTORS:
        grid = grid_of((factor * low, factor * high), bits, scheme)
        errors.append(_errors(rows, grid))
    best = torch.stack(errors).argmin(dim=0).reshape(low.shape)
    factors = torch.tensor(CLIP_FACTORS, device=best.device)[best]
    return low * factors, high * factors


def keep_percentile(
    values: ObservedValues,
    bits: int,  # noqa: ARG001 - the same at every bit-width
    scheme: Scheme,
    percent: float = PERCENTILE,
) -> Range:
    """`percentile`: clip at the magnitude that this share of all values does not exceed."""
    return _cut(values, values.magnitude_quantile(percent / 100), scheme)


def expected_least_error(
    values: ObservedValues, bits: int, scheme: Scheme, distribution: Literal["laplace", "gauss"]
) -> Range:
    """`aciq_laplace`, `aciq_gauss`: the clip of least expected error for such a distribution.

    About the mean, or about zero on symmetric grids; never beyond the values seen. Values without
    negatives on an affine grid are read as half of a distribution about zero, the rest of which a
    ReLU made zero; the grid spends its levels on one half, which is worth one more bit (Banner et
    al., on fused ReLU).
    """
    clip = {"laplace": laplace_clip, "gauss": gauss_clip}[distribution]
    is_normal = distribution == "gauss"
    moments = values.get_moments()
    about_zero = moments.mean_square.sqrt() if is_normal else moments.mean_magnitude
    if scheme == "symmetric":
        return _cut(values, clip(bits) * about_zero, scheme)
    about_mean = moments.deviation if is_normal else moments.mean_deviation
    low = moments.mean - clip(bits) * about_mean
    high = moments.mean + clip(bits) * about_mean
    share = moments.nonzero_share.clamp(min=torch.finfo(torch.float32).tiny)
    of_half = about_zero / (share.sqrt() if is_normal else share)
    one_sided = values.minimum >= 0
    low = torch.where(one_sided, torch.zeros_like(low), low)
    high = torch.where(one_sided, clip(bits + 1) * of_half, high)
    return torch.maximum(low, values.minimum), torch.minimum(high, values.maximum)


def least_divergence(values: ObservedValues, bits: int, scheme: Scheme) -> Range:
    """`kl`: clip where the histogram of magnitudes loses the least information (`entropy.py`)."""
    unsigned = (values.minimum >= 0).reshape(-1).tolist() if scheme == "affine" else None
    thresholds = [
        entropy_threshold(histogram, bits, unsigned=bool(unsigned and unsigned[row]))
        for row, histogram in enumerate(values.get_histograms())
    ]
    cut = torch.tensor(thresholds, device=values.minimum.device).reshape(values.minimum.shape)
    return _cut(values, cut, scheme)


WEIGHT_RULES: dict[str, ClippingRule] = {
    "minmax": keep_everything,
    "percentile": keep_percentile,
    "mse": least_error,
    "aciq_laplace": partial(expected_least_error, distribution="laplace"),
    "aciq_gauss": partial(expected_least_error, distribution="gauss"),
    "kl": least_divergence,
}
ACTIVATION_RULES: dict[str, ClippingRule] = dict(WEIGHT_RULES)


def find_rule(side: Literal["weight", "activation"], name: str) -> ClippingRule:
    """The rule of this name, with its option behind a colon; raises `InputError` if there is none."""
    known: Mapping[str, ClippingRule] = WEIGHT_RULES if side == "weight" else ACTIVATION_RULES
    base, colon, option = name.partition(":")
    if base not in known:
        raise InputError(f"{side} rule {name!r} is unknown; {nearest(base, known)}")
    if not colon:
        return known[base]
    if base != "percentile":
        raise InputError(f"{side} rule {name!r}: {base!r} takes no option; write {base!r}")
    try:
        percent = float(option)
    except ValueError:
        percent = 0.0
    if not 50 <= percent <= 100:
        raise InputError(
            f"{side} rule {name!r}: the percentile must be a number from 50 to 100, got {option!r}"
        )
    return partial(keep_percentile, percent=percent)


def grid_of(
    range_: Range, bits: int, scheme: Scheme, channel_axis: int | None = None
) -> QuantizationGrid:
    """The grid of this scheme that covers a range."""
    low, high = range_
    if scheme == "symmetric":
        return symmetric_grid(high, bits, channel_axis)
    return affine_grid(low, high, bits, channel_axis)


def activation_scheme_for(scheme: Scheme, values: ObservedValues) -> Scheme:
    """Symmetric values that are never negative take the unsigned grid: affine, its zero point 0."""
    return "affine" if scheme == "affine" or bool(values.minimum >= 0) else scheme


def _cut(values: ObservedValues, threshold: Tensor, scheme: Scheme) -> Range:
    """Clip magnitudes at the threshold, or at the extremes where they are nearer."""
    threshold = torch.minimum(threshold.to(values.minimum.dtype), values.largest)
    if scheme == "symmetric":
        return -threshold, threshold
    return torch.maximum(values.minimum, -threshold), torch.minimum(values.maximum, threshold)


def _errors(rows: Tensor, grid: QuantizationGrid) -> Tensor:
    """Norm of the error of every row on the grid, shape (rows,).

    Written out because torch's `fake_quantize_per_channel_affine` is several times slower.
    """
    scale, zero_point = grid.scale.reshape(-1, 1), grid.zero_point.reshape(-1, 1)
    codes = (rows * scale.reciprocal()).round_().add_(zero_point)
    levels = codes.clamp_(grid.quant_min, grid.quant_max).sub_(zero_point).mul_(scale)
    norms: Tensor = torch.linalg.vector_norm(levels.sub_(rows), dim=1)
    return norms
