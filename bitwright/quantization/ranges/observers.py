"""Observing the values that flow into a layer, in one pass and in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bitwright.quantization.ranges.histograms import GrowingHistogram, Histogram, histogram_of

SAMPLE_LIMIT = 2**16
"""Most values that are kept of one layer's input, however many batches run."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Means over all values, each in the shape of the values' extremes.

    `mean_square` is E[x^2], `mean_magnitude` E|x|, `deviation` the standard deviation,
    `mean_deviation` E|x - mean|, and `nonzero_share` the part of the values that are not 0.
    """

    mean: Tensor
    mean_square: Tensor
    mean_magnitude: Tensor
    deviation: Tensor
    mean_deviation: Tensor
    nonzero_share: Tensor


@dataclass(frozen=True, eq=False)
class ObservedValues:
    """What is known of the values of one tensor, or of every channel of one.

    The extremes of all values, shape () or (channels,), and a sample of them with one more axis: at
    most `SAMPLE_LIMIT` values of a stream, all of them for weights. Moments and histogram of the
    magnitudes are those of the sample unless a whole stream was counted.
    """

    minimum: Tensor
    maximum: Tensor
    sample: Tensor
    moments: Moments | None = None
    histogram: Histogram | None = None

    @classmethod
    def of(cls, values: Tensor) -> ObservedValues:
        """Of a tensor at hand, along its last axis."""
        return cls(values.amin(dim=-1), values.amax(dim=-1), values)

    @property
    def largest(self) -> Tensor:
        """The largest magnitude."""
        return torch.maximum(self.maximum, -self.minimum)

    def get_moments(self) -> Moments:
        """The moments of the stream, or of the sample."""
        return self.moments or moments_of(self.sample)

    def get_histograms(self) -> list[Histogram]:
        """Histograms of the magnitudes: one, or one for every channel."""
        if self.histogram is not None:
            return [self.histogram]
        rows = self.sample.reshape(-1, self.sample.shape[-1]).abs()
        return [histogram_of(row) for row in rows]

    def magnitude_quantile(self, part: float) -> Tensor:
        """The magnitude that this part of the values does not exceed."""
        if self.histogram is not None:
            return torch.tensor(self.histogram.quantile(part)).expand_as(self.minimum)
        ordered = self.sample.abs().sort(dim=-1).values
        place = part * (ordered.shape[-1] - 1)
        lower, upper = ordered[..., math.floor(place)], ordered[..., math.ceil(place)]
        return lower + (upper - lower) * (place - math.floor(place))


def moments_of(values: Tensor) -> Moments:
    """The moments of values at hand, along the last axis."""
    mean = values.mean(dim=-1)
    return Moments(
        mean=mean,
        mean_square=values.square().mean(dim=-1),
        mean_magnitude=values.abs().mean(dim=-1),
        deviation=values.std(dim=-1, correction=0),
        mean_deviation=(values - mean.unsqueeze(-1)).abs().mean(dim=-1),
        nonzero_share=(values != 0).to(values.dtype).mean(dim=-1),
    )


class Observer:
    """Keeps what every clipping rule asks of a stream of values, the same on every run.

    Exact over the whole stream are the extremes, the moments (but for E|x - mean|, which the sample
    gives) and the histogram of magnitudes.

    The sample holds one value, drawn at random, of every `_stride` neighbours; random draws keep a
    stride from falling in step with the width of an image. When it is full, a random one of each
    pair stays and the stride doubles.
    """

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._minimum = torch.tensor(torch.inf)
        self._maximum = torch.tensor(-torch.inf)
        self._sample = torch.empty(0)
        self._stride = 1
        self._histogram = GrowingHistogram()
        self._sums = _RunningSums()

    def update(self, values: Tensor) -> None:
        """Take in the values of one call; raises `ValueError` on NaN and infinity."""
        flat = values.detach().flatten().float()
        if not len(flat):
            return
        minimum, maximum = torch.aminmax(flat)
        if not (minimum.isfinite() and maximum.isfinite()):
            raise ValueError("NaN or infinity")
        self._minimum = torch.minimum(self._minimum, minimum.cpu())
        self._maximum = torch.maximum(self._maximum, maximum.cpu())
        magnitudes = flat.abs()
        self._histogram.update(magnitudes, max(-float(minimum), float(maximum), 0.0))
        self._sums.update(flat, magnitudes)
        picks = self._one_of_each(len(flat), max(1, len(flat) // self._stride))
        self._sample = torch.cat([self._sample, flat[picks.to(flat.device)].cpu()])
        while len(self._sample) > SAMPLE_LIMIT:
            self._sample = self._sample[
                self._one_of_each(len(self._sample), len(self._sample) // 2)
            ]
            self._stride *= 2

    def result(self) -> ObservedValues | None:
        """What was seen so far; None for nothing."""
        if not len(self._sample):
            return None
        return ObservedValues(
            self._minimum,
            self._maximum,
            self._sample,
            self._sums.result(self._sample),
            self._histogram.result(),
        )

    def _one_of_each(self, length: int, parts: int) -> Tensor:
        """One random index out of each of `parts` equal parts of `range(length)`."""
        offsets = torch.rand(parts, generator=self._generator, dtype=torch.float64)
        indices = ((torch.arange(parts) + offsets) * (length / parts)).long()
        return indices.clamp_(max=length - 1)


class _RunningSums:
    """Moments of a stream, gathered part by part in float64 (Chan et al. 1979)."""

    def __init__(self) -> None:
        self._count = 0
        self._nonzero = 0
        self._mean = 0.0
        self._squares = 0.0  # sum of squared distances from the mean
        self._magnitudes = 0.0

    def update(self, values: Tensor, magnitudes: Tensor) -> None:
        count = len(values)
        variance, mean = (float(v) for v in torch.var_mean(values, correction=0))
        total, distance = self._count + count, mean - self._mean
        self._squares += count * variance + distance**2 * self._count * count / total
        self._mean += distance * count / total
        self._magnitudes += count * float(magnitudes.mean())
        self._nonzero += int(values.count_nonzero())
        self._count = total

    def result(self, sample: Tensor) -> Moments:
        variance = self._squares / self._count
        return Moments(
            mean=torch.tensor(self._mean),
            mean_square=torch.tensor(variance + self._mean**2),
            mean_magnitude=torch.tensor(self._magnitudes / self._count),
            deviation=torch.tensor(math.sqrt(variance)),
            mean_deviation=(sample - self._mean).abs().mean(),
            nonzero_share=torch.tensor(self._nonzero / self._count),
        )
