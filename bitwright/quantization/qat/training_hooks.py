"""What a recipe adds to the plain steps of a training: small objects, each with a state of its own.

Every method has a default that does nothing, so that a hook says only where it takes part. What a
hook keeps from step to step is in its `state_dict` and thereby in the training's checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bitwright.quantization.qat.blending import alpha_at, blending_quantizers, set_alpha
from bitwright.quantization.qat.recipe import TrainingRecipe
from bitwright.quantization.quantizers import IntegerQuantizer, Quantizer
from bitwright.quantization.weights import quantized_weights


class StepHook:
    """Takes part in a training; `time` is the part of all steps that is done, from 0 to 1."""

    def before_step(self, time: float) -> None:
        """Prepare the forward pass of a step."""

    def penalty(self, time: float) -> Tensor | None:  # noqa: ARG002 - the default adds nothing
        """What is added to the loss of a step."""
        return None

    def after_step(self) -> None:
        """Look at the weights after the optimizer has moved them."""

    def finish(self) -> None:
        """Leave the model as it is to be used; called once, after the last epoch."""

    def state_dict(self) -> dict[str, Any]:
        """What the hook keeps from step to step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what `state_dict` gave."""


@dataclass
class AlphaSchedule(StepHook):
    """Turns a blended network from float to quantized."""

    model: nn.Module
    start: float
    end: float

    def before_step(self, time: float) -> None:
        """Set alpha for the time."""
        set_alpha(self.model, alpha_at(time, self.start, self.end))

    def finish(self) -> None:
        """Leave the network quantized."""
        set_alpha(self.model, 1)


@dataclass
class Dampening(StepHook):
    """Pulls weights to the middle of their level, against oscillation (Nagel et al. 2022, eq. 7).

    weight * (1 - cos(pi time)) / 2 * sum (w_hat - clip(w))^2, with w_hat and the clip held constant.
    """

    model: nn.Module
    weight: float

    def __post_init__(self) -> None:
        self._weights = [
            (weight.original, weight.quantizer)
            for weight in quantized_weights(self.model)
            if isinstance(weight.quantizer, IntegerQuantizer)
        ]

    def penalty(self, time: float) -> Tensor | None:
        """The term at its present weight."""
        weight = self.weight * (1 - math.cos(math.pi * time)) / 2
        if weight == 0 or not self._weights:
            return None
        return weight * torch.stack([distance_to_levels(w, q) for w, q in self._weights]).sum()


def distance_to_levels(weight: Tensor, quantizer: IntegerQuantizer) -> Tensor:
    """Sum of squared distances of clipped weights to their levels, which are held constant."""
    with torch.no_grad():
        grid = quantizer.grid
        shape = [1] * weight.ndim
        if grid.channel_axis is not None:
            shape[grid.channel_axis] = -1
        scale, zero = grid.scale.view(shape), grid.zero_point.view(shape)
        low, high = (grid.quant_min - zero) * scale, (grid.quant_max - zero) * scale
        levels = quantizer(weight)
    clipped = torch.minimum(torch.maximum(weight, low), high)
    distance: Tensor = (levels - clipped).square().sum()
    return distance


class WeightAverage(StepHook):
    """An exponential moving average of parameters and float buffers, used in their place at the end.

    The decay of step k is at most (1 + k) / (10 + k), so that the start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay, self.steps = model, decay, 0
        self.average = {name: value.clone() for name, value in self._values()}

    def _values(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters, and what norms keep; the grids and the alpha of quantizers are no average."""
        for name, parameter in self.model.named_parameters():
            yield name, parameter.data
        for place, module in self.model.named_modules():
            if not isinstance(module, Quantizer):
                for name, buffer in module.named_buffers(place, recurse=False):
                    if buffer.is_floating_point():
                        yield name, buffer

    def after_step(self) -> None:
        """Take the new weights in."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self._values():
            self.average[name].lerp_(value, 1 - decay)

    def finish(self) -> None:
        """Put the average in the place of the weights."""
        for name, value in self._values():
            value.copy_(self.average[name])

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Run the model with the average for a while."""
        kept = {name: value.clone() for name, value in self._values()}
        self.finish()
        try:
            yield
        finally:
            for name, value in self._values():
                value.copy_(kept[name])

    def state_dict(self) -> dict[str, Any]:
        """The average and its age."""
        return {"average": self.average, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to an average."""
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        self.steps = state["steps"]


def hooks_for(model: nn.Module, recipe: TrainingRecipe) -> dict[str, StepHook]:
    """The hooks that a recipe asks for, in the order in which they act."""
    hooks: dict[str, StepHook] = {}
    if recipe.dampening:
        hooks["dampening"] = Dampening(model, recipe.dampening)
    if recipe.weight_average is not None:
        hooks["weight_average"] = WeightAverage(model, recipe.weight_average)
    if blending_quantizers(model):
        hooks["alpha"] = AlphaSchedule(model, recipe.alpha_start, recipe.alpha_end)
    return hooks
