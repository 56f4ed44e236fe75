"""Adaptive rounding: each weight up or down so that the layer's output changes least.

Nearest rounding is best for each weight by itself, but errors of weights that act on the same
outputs can cancel. AdaRound (Nagel et al. 2020, arXiv 2004.10568) learns, layer by layer, an amount
h(V) between 0 and 1 that is added to the weight rounded down,

    minimise  || W x - W~ x^ ||^2 + lambda * sum(1 - |2 h(V) - 1|^beta),   W~ = s (clip(floor(W / s) + h(V)))

with the rectified sigmoid h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1) (equations 21 to 25); beta falls, so
that every h ends at 0 or 1. x^ is the input in the network quantized so far.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bitwright.networks import Layer, evaluation_mode, failures_reported, layers_of
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.network import NetworkDescription
from bitwright.quantization.apply import applied_quantizers, apply_configuration
from bitwright.quantization.calibration import Calibration
from bitwright.quantization.grids import QuantizationGrid
from bitwright.quantization.ptq.channels import layer_modules, output_channel_axis
from bitwright.quantization.quantizers import GridQuantizer

_STRETCH_LOW, _STRETCH_HIGH = -0.1, 1.1
"""The sigmoid is stretched beyond 0 and 1, so that both can be reached."""


@dataclass(frozen=True, slots=True)
class RoundingRecipe:
    """Settings of adaptive rounding, for every layer.

    Each of `steps` looks at `batch_size` examples. The pull towards 0 and 1, `strength` (lambda), sets
    in after the part `warmup` of the steps, with beta falling from `beta_start` to `beta_end`. The
    paper takes 10,000 steps at a learning rate of 0.01.
    """

    steps: int = 400
    batch_size: int = 16
    learning_rate: float = 3e-2
    strength: float = 0.01
    warmup: float = 0.2
    beta_start: float = 20.0
    beta_end: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"rounding: {name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.warmup < 1:
            raise InputError(f"rounding: warmup must be at least 0 and below 1, got {self.warmup}")


def round_adaptively(
    model: nn.Module,
    network: NetworkDescription,
    configuration: BitConfiguration,
    calibration: Calibration,
    batches: Iterable[tuple[Any, ...]],
    *,
    recipe: RoundingRecipe | None = None,
) -> nn.Module:
    """A float copy whose weights lie on the configuration's grids, rounded up or down adaptively.

    Applying the configuration with this calibration then keeps every weight as it is. Layers are
    rounded in order of execution, each with those before it rounded already, to reconstruct the
    model's outputs on `model(*inputs)` of every batch. Weights that are left in float, cast to
    float16, or used by functions stay. The batches and one layer's inputs and outputs of them are held in memory.
    """
    recipe = recipe or RoundingRecipe()
    kept = list(batches)
    if not kept:
        raise InputError("adaptive rounding needs one batch or more, got none")
    twin = copy.deepcopy(model)
    floats, layers = layer_modules(model, configuration), layer_modules(twin, configuration)
    with apply_configuration(twin, configuration, calibration):
        quantizers = applied_quantizers(twin)
        for name in network.names:
            if name not in floats or name not in quantizers:
                continue
            quantizer = quantizers[name].weight
            if not isinstance(quantizer, GridQuantizer):
                continue
            calls = _record(model, twin, name, kept, network.name)
            if calls:
                rounded = _reconstruct(floats[name], quantizer.grid, calls, recipe)
                original = layers[name].get_parameter("parametrizations.weight.original")
                with torch.no_grad():
                    original.copy_(rounded)
    return twin


@dataclass(frozen=True, eq=False)
class LayerCalls:
    """What one call of a layer reads in the quantized network, and made in the float network."""

    input: Tensor
    output: Tensor


def _record(
    model: nn.Module, twin: nn.Module, name: str, batches: list[tuple[Any, ...]], network: str
) -> list[LayerCalls]:
    read: list[Tensor] = []
    made: list[Tensor] = []

    def keep_input(_: nn.Module, args: Any, kwargs: Any, __: Any) -> None:
        read.append((args[0] if args else kwargs["input"]).detach())

    def keep_output(_: nn.Module, __: Any, output: Tensor) -> None:
        made.append(output.detach())

    hooks = (
        layers_of(twin, [name])[name].register_forward_hook(keep_input, with_kwargs=True),
        layers_of(model, [name])[name].register_forward_hook(keep_output),
    )
    try:
        with evaluation_mode(model), evaluation_mode(twin):
            for inputs in batches:
                with failures_reported(network, inputs):
                    model(*inputs)
                    twin(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    axes = layers_of(model, [name])[name].weight.ndim
    return [
        LayerCalls(_with_batch_axis(x, axes), _with_batch_axis(y, axes))
        for x, y in zip(read, made, strict=True)
    ]


def _with_batch_axis(tensor: Tensor, axes: int) -> Tensor:
    return tensor.unsqueeze(0) if tensor.ndim < axes else tensor


def _reconstruct(
    layer: Layer, grid: QuantizationGrid, calls: list[LayerCalls], recipe: RoundingRecipe
) -> Tensor:
    """The weight on the grid that learns to give the recorded outputs."""
    soft = _SoftRounding(layer.weight.detach(), grid)
    optimizer = torch.optim.Adam([soft.logits], recipe.learning_rate)
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.enable_grad():
        for step in range(recipe.steps):
            call = calls[int(torch.randint(len(calls), (), generator=generator))]
            picks = torch.randint(len(call.input), (recipe.batch_size,), generator=generator)
            picks = picks.to(call.input.device)
            output = functional_call(layer, {"weight": soft.weight()}, (call.input[picks],))
            error = (output - call.output[picks]).square()
            loss = error.sum() * (error.shape[output_channel_axis(layer, error)] / error.numel())
            if (beta := _beta(step, recipe)) is not None:
                loss = loss + recipe.strength * soft.undecided(beta)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return soft.hard_weight()


class _SoftRounding:
    """A weight between its lower and upper neighbours on a grid; starts where the weight is."""

    def __init__(self, weight: Tensor, grid: QuantizationGrid) -> None:
        shape = [1] * weight.ndim
        if grid.channel_axis is not None:
            shape[grid.channel_axis] = -1
        self._grid = grid
        self._scale = grid.scale.reshape(shape)
        self._zero_point = grid.zero_point.reshape(shape)
        position = weight / self._scale
        self._floor = position.floor()
        part = (position - self._floor - _STRETCH_LOW) / (_STRETCH_HIGH - _STRETCH_LOW)
        self.logits = torch.logit(part).requires_grad_()

    def amount(self) -> Tensor:
        """h(V), the part of a step that is added."""
        stretched = self.logits.sigmoid() * (_STRETCH_HIGH - _STRETCH_LOW) + _STRETCH_LOW
        return stretched.clamp(0, 1)

    def undecided(self, beta: float) -> Tensor:
        """How far from 0 and 1 the amounts are: sum of 1 - |2h - 1|^beta."""
        return (1 - (2 * self.amount() - 1).abs().pow(beta)).sum()

    def weight(self) -> Tensor:
        """The weight with soft rounding, clipped to the grid."""
        return self._on_grid(self._floor + self.amount())

    def hard_weight(self) -> Tensor:
        """The weight with every amount rounded to 0 or 1."""
        return self._on_grid(self._floor + (self.amount().detach() >= 0.5))

    def _on_grid(self, codes: Tensor) -> Tensor:
        low, high = self._grid.quant_min, self._grid.quant_max
        codes = (codes + self._zero_point).clamp(low, high)
        return (codes - self._zero_point) * self._scale


def _beta(step: int, recipe: RoundingRecipe) -> float | None:
    """Exponent of the pull at a step, half a cosine down; None during the warm-up."""
    start = recipe.warmup * recipe.steps
    if step < start:
        return None
    part = (step - start) / (recipe.steps - start)
    fall = (recipe.beta_start - recipe.beta_end) * (1 + math.cos(math.pi * part)) / 2
    return recipe.beta_end + fall
