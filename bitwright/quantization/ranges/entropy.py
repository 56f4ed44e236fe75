"""Entropy calibration: the clip that keeps most of what the values' distribution tells.

The histogram of magnitudes, cut off at bin i with the rest piled on its last bin (P), is compared by
Kullback-Leibler divergence with what N levels can tell of it (Q, each level's mass spread evenly over
its bins that are not empty); the i of least divergence wins (S. Migacz, "8-bit inference with
TensorRT", GTC 2017). b bits tell N = 2^(b-1) magnitudes of signed values, 2^b of unsigned ones.
Below 8 bits this clips less than the least squared error does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitwright.quantization.ranges.histograms import Histogram

USUAL_START = 128
"""The first bin that is tried at 8 bits, as in the literature; never fewer bins than levels."""

LEAST_KEPT = 0.5
"""Least part of the values that a cut keeps: where values are few or discrete, a bin that everything
is piled on looks the same in P and Q."""

_SMOOTHING = 1e-4
"""Counts that Q is given in an empty last bin, on which P piles what is cut off."""

_CANDIDATES_AT_ONCE = 1024


def entropy_threshold(histogram: Histogram, bits: int, *, unsigned: bool) -> float:
    """The magnitude to clip at: the upper edge of the bin of least divergence, the widest on ties.

    With fewer bins than levels nothing is clipped.
    """
    counts = histogram.counts.numpy().astype(np.float64)
    levels = int(2 ** (bits - 1 + unsigned))
    start = max(levels, USUAL_START if bits == 8 else levels)
    if len(counts) <= start:
        return len(counts) * histogram.width
    counts[0] = counts[1]  # zeros are exact at any scale: their spike must not decide
    if not counts.any():
        return len(counts) * histogram.width
    sizes = np.arange(start, len(counts) + 1)
    sizes = sizes[counts.cumsum()[sizes - 1] >= LEAST_KEPT * counts.sum()]
    found = np.concatenate(
        [
            _divergences(counts, part, levels)
            for part in np.array_split(sizes, -(-len(sizes) // _CANDIDATES_AT_ONCE))
        ]
    )
    # Equal divergences differ in their last digits, by the order in which they were added.
    best = int(sizes[np.flatnonzero(found <= found.min() + 1e-12)[-1]])
    return best * histogram.width


def _divergences(
    counts: NDArray[np.float64], sizes: NDArray[np.int64], levels: int
) -> NDArray[np.float64]:
    """KL(P, Q) for the cuts at these numbers of bins.

    All from running sums: within a level Q is constant, so that the level's sum of P log Q needs
    its mass and its number of bins alone.
    """
    total = counts.sum()
    mass = np.concatenate([[0.0], counts.cumsum()])
    filled = np.concatenate([[0], (counts > 0).cumsum()])
    own = np.concatenate([[0.0], _x_log_x(counts).cumsum()])
    edges = -(-np.arange(levels + 1) * sizes[:, None] // levels)  # rounded up
    level_mass = np.diff(mass[edges], axis=1)
    level_filled = np.maximum(np.diff(filled[edges], axis=1), 1)
    cross = (_x_log_x(level_mass) - level_mass * np.log(level_filled)).sum(axis=1)
    last, tail = counts[sizes - 1], total - mass[sizes]
    last_q = np.where(last > 0, level_mass[:, -1] / level_filled[:, -1], _SMOOTHING)
    cross += tail * np.log(last_q)
    self_term = own[sizes] - _x_log_x(last) + _x_log_x(last + tail)
    told = mass[sizes] + np.where(last > 0, 0.0, _SMOOTHING)
    divergence: NDArray[np.float64] = (self_term - cross) / total - np.log(total) + np.log(told)
    return divergence


def _x_log_x(values: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = values * np.log(np.where(values > 0, values, 1.0))
    return result
