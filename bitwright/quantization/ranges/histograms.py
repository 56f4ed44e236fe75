"""Histograms of magnitudes whose range grows with the values that come in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 2048
"""Bins between 0 and the largest magnitude of the first values."""

MOST_BINS = 8 * BINS
"""Beyond these, neighbouring bins are joined, so that memory stays bounded."""

_CHUNK = 2**22


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many magnitudes lie in each bin; bin k is from k to k + 1 times `width`.

    `counts` is int64 of shape (bins,). No values at all, or only zeros: one bin of width 0.
    """

    counts: Tensor
    width: float

    def quantile(self, part: float) -> float:
        """The magnitude below which this part of all values lies, evenly spread in its bin."""
        reached = self.counts.cumsum(0).double()
        target = part * float(reached[-1])
        bin_ = int(torch.searchsorted(reached, target).clamp(max=len(reached) - 1))
        inside = float(self.counts[bin_])
        below = float(reached[bin_]) - inside
        return (bin_ + ((target - below) / inside if inside else 1.0)) * self.width


class GrowingHistogram:
    """Counts magnitudes; larger ones that come later append bins of the same width."""

    def __init__(self) -> None:
        self._counts = torch.zeros(1, dtype=torch.int64)
        self._width = 0.0

    def update(self, magnitudes: Tensor, largest: float) -> None:
        """Count values that are not negative, shape (values,), of which `largest` is the largest."""
        if largest > 0:
            self._reach(largest)
        if not self._width:
            self._counts[0] += len(magnitudes)
            return
        for start in range(0, len(magnitudes), _CHUNK):
            chunk = magnitudes[start : start + _CHUNK]
            bins = (chunk / self._width).long().clamp_(max=len(self._counts) - 1)
            self._counts += torch.bincount(bins, minlength=len(self._counts)).cpu()

    def result(self) -> Histogram:
        """What was counted so far."""
        return Histogram(self._counts.clone(), self._width)

    def _reach(self, largest: float) -> None:
        if not self._width:
            # A width below float32's normal range would lose the bins to rounding.
            self._width = max(largest / BINS, torch.finfo(torch.float32).tiny)
        while math.ceil(largest / self._width) > MOST_BINS:
            padded = torch.nn.functional.pad(self._counts, (0, len(self._counts) % 2))
            self._counts = padded.view(-1, 2).sum(dim=1)
            self._width *= 2
        missing = math.ceil(largest / self._width) - len(self._counts)
        if missing > 0:
            self._counts = torch.nn.functional.pad(self._counts, (0, missing))


def histogram_of(magnitudes: Tensor) -> Histogram:
    """The histogram of values at hand, shape (values,)."""
    growing = GrowingHistogram()
    growing.update(magnitudes, float(magnitudes.max()))
    return growing.result()
