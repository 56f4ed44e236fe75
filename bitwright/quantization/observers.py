"""Observing the values that flow into a layer, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SAMPLE_LIMIT = 2**16
"""Most values that are kept of one layer's input, however many batches run."""


@dataclass(frozen=True, eq=False)
class ObservedValues:
    """Extremes of all values seen, shape (), and a sample of at most `SAMPLE_LIMIT` of them."""

    minimum: Tensor
    maximum: Tensor
    sample: Tensor


class Observer:
    """Keeps the extremes and an even sample of a stream of values, the same on every run.

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
        return ObservedValues(self._minimum, self._maximum, self._sample)

    def _one_of_each(self, length: int, parts: int) -> Tensor:
        """One random index out of each of `parts` equal parts of `range(length)`."""
        offsets = torch.rand(parts, generator=self._generator, dtype=torch.float64)
        indices = ((torch.arange(parts) + offsets) * (length / parts)).long()
        return indices.clamp_(max=length - 1)
