"""The clean-up of measured scores before solving: noise must not say that more bits hurt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitwright.problems import Precision


def clean_up(
    scores: NDArray[np.float64], precisions: Sequence[Precision]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Clamp scores at 0, then let no precision score worse than one with fewer bits.

    `scores` has shape (components, precisions), lower is better, NaN where a precision is not
    offered. Returns the cleaned scores and which of them changed; NaN stays. More bits means at
    least as many on both sides in the same variant; float32 has more than any other precision.
    Cleaning twice changes nothing.
    """
    offered = ~np.isnan(scores)
    clamped = np.where(offered, np.maximum(scores, 0.0), np.inf)
    cleaned = np.full(scores.shape, np.nan)
    for j, precision in enumerate(precisions):
        fewer = [k for k, other in enumerate(precisions) if _at_most(other, precision)]
        cleaned[:, j] = clamped[:, fewer].min(axis=1)
    cleaned[~offered] = np.nan
    return cleaned, offered & (cleaned != scores)


def _at_most(fewer: Precision, more: Precision) -> bool:
    if more.is_float32:
        return True
    return (
        fewer.variant == more.variant
        and fewer.weight_bits <= more.weight_bits
        and fewer.activation_bits <= more.activation_bits
    )
