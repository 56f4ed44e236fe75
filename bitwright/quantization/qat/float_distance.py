"""The additional loss term that pulls a quantized network's outputs to those of the float one."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from bitwright.networks.tensors import tensors_in
from bitwright.problems.errors import InputError


def relative_distance(outputs: Any, reference: Any) -> Tensor:
    """Mean over output tensors of ||y - r||^2 / ||r||^2, a scalar; 0 for equal outputs.

    Both are what a model returns, nested as it likes; tensors of integers do not count. The norm of
    the reference makes outputs of different scale, such as classes and boxes, count alike. Raises
    `InputError` for outputs that differ in number or shape, or hold no floating-point tensor.
    """
    ours = [t for t in tensors_in(outputs) if t.is_floating_point()]
    theirs = [t for t in tensors_in(reference) if t.is_floating_point()]
    shapes = [[tuple(t.shape) for t in tensors] for tensors in (ours, theirs)]
    if shapes[0] != shapes[1] or not ours:
        raise InputError(
            f"outputs of shapes {shapes[0]} have no distance to a reference of shapes {shapes[1]}"
        )
    parts = []
    for y, r in zip(ours, theirs, strict=True):
        size = r.detach().square().sum()
        tiny = torch.finfo(size.dtype).tiny
        parts.append((y - r.detach()).square().sum() / size.clamp(min=tiny))
    return torch.stack(parts).mean()


class DistanceToFloat:
    """`weight` times the distance between a model's outputs and those of a float network.

    The float network is copied, runs in evaluation mode and learns nothing.
    """

    def __init__(self, reference: nn.Module, weight: float = 1.0) -> None:
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"the weight of the loss term must be from 0 up, got {weight}")
        self.weight = weight
        self._reference = copy.deepcopy(reference).eval().requires_grad_(False)

    def __call__(self, inputs: tuple[Any, ...], outputs: Any) -> Tensor:
        """The term for one batch, to be added to the training loss; `inputs` as the model got them."""
        with torch.no_grad():
            reference = self._reference(*inputs)
        return self.weight * relative_distance(outputs, reference)
