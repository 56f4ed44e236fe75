"""Training under clips, so that the ranges of a later 8-bit quantization are known beforehand.

While the float network is trained, the weights and the input of every layer are clipped (Chen & Lou
2022, Applied Sciences 12(23), 12405); what it learns fits into the clips, and quantization takes
these for ranges, without looking at any data:

    ranges = clip_ranges(calibration)
    twin = clipped_copy(model, ranges)
    fit(twin, task, recipe, seed=0)
    model, ranges = settled(model, twin), read_clips(twin)
    calibration = clip_calibration(model, network, ranges)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitwright.networks import layers_of
from bitwright.problems.errors import InputError
from bitwright.problems.network import NetworkDescription
from bitwright.quantization.calibration import Calibration, channel_axis
from bitwright.quantization.grids import QuantizationGrid, affine_grid, symmetric_grid

_INPUT_CLIP = "input_clip"


@dataclass(frozen=True)
class ClipRanges:
    """Where layers are clipped: weights to [-c, c], `weights[layer]` = c; inputs to `inputs[layer]`.

    A range of inputs is (lowest, highest) and holds zero. A layer that is left out is not clipped.
    """

    weights: Mapping[str, float]
    inputs: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        for name, bound in self.weights.items():
            if not bound > 0:
                raise InputError(
                    f"layer {name!r}: the clip of its weights must be above 0, got {bound}"
                )
        for name, (low, high) in self.inputs.items():
            if not low <= 0 <= high or low == high:
                raise InputError(
                    f"layer {name!r}: the clip of its input must hold 0 and more, got {(low, high)}"
                )


class Clip(nn.Module):
    """Clips values to [low, high], or to [-high, high] where `low` is None.

    Learned bounds have the gradient of PACT: what lies beyond one pulls at it.
    """

    low: Tensor | None
    high: Tensor

    def __init__(self, low: float | None, high: float, *, learned: bool) -> None:
        super().__init__()
        for name, bound in (("low", low), ("high", high)):
            tensor = None if bound is None else torch.tensor(float(bound))
            if learned and tensor is not None:
                self.register_parameter(name, nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)

    def forward(self, values: Tensor) -> Tensor:
        """Clip the values; the gradient passes inside."""
        return torch.clamp(values, -self.high if self.low is None else self.low, self.high)


def clip_ranges(
    calibration: Calibration, *, weight_share: float = 0.999, input_share: float = 0.999
) -> ClipRanges:
    """Clips that keep these shares of the weights and, on either side, of the inputs seen."""
    for name, share in (("weight_share", weight_share), ("input_share", input_share)):
        if not 0 < share <= 1:
            raise InputError(f"{name} must be above 0 and at most 1, got {share}")
    # What functions compute has no module whose input could be clipped.
    weights = {
        n: _bound(w.abs(), weight_share)
        for n, w in calibration.weights.items()
        if n not in calibration.functions
    }
    inputs = {
        n: (
            min(-_bound(-seen.sample, input_share), 0.0),
            max(_bound(seen.sample, input_share), 0.0),
        )
        for n, seen in calibration.inputs.items()
        if n not in calibration.functions
    }
    return ClipRanges(
        {name: bound for name, bound in weights.items() if bound > 0},
        {name: (low, high) for name, (low, high) in inputs.items() if low < high},
    )


def clipped_copy(model: nn.Module, ranges: ClipRanges, *, learned: bool = False) -> nn.Module:
    """A copy of a float model that computes with clipped weights and inputs, to be trained.

    With `learned` the clips are parameters and are trained with the weights. A weight beyond its
    clip gets no gradient, only the pull of weight decay.
    """
    twin = copy.deepcopy(model)
    for name, layer in layers_of(twin, ranges.weights).items():
        clip = Clip(None, ranges.weights[name], learned=learned).to(layer.weight.device)
        parametrize.register_parametrization(layer, "weight", clip)
    for name, layer in layers_of(twin, ranges.inputs).items():
        clip = Clip(*ranges.inputs[name], learned=learned).to(layer.weight.device)
        layer.add_module(_INPUT_CLIP, clip)
        layer.register_forward_pre_hook(_with_clipped_input, with_kwargs=True)
    return twin


def read_clips(clipped: nn.Module) -> ClipRanges:
    """The clips of a clipped model as they are now; learned ones that crossed are an `InputError`."""
    weights, inputs = {}, {}
    for name, module in clipped.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            clip = module.parametrizations.weight[0]
            if isinstance(clip, Clip):
                weights[name] = clip.high.item()
        clip = module._modules.get(_INPUT_CLIP)
        if isinstance(clip, Clip) and clip.low is not None:
            inputs[name] = (min(clip.low.item(), 0.0), max(clip.high.item(), 0.0))
    return ClipRanges(weights, inputs)


def settled(model: nn.Module, clipped: nn.Module) -> nn.Module:
    """A plain copy of `model` with what its clipped copy has learned, the weights clipped for good.

    Inputs are not clipped any more: quantization to the ranges of the clips does that.
    """
    plain, trained = copy.deepcopy(model), clipped.state_dict()
    with torch.no_grad():
        for key in plain.state_dict():
            if key not in trained:
                layer, _, tensor = key.rpartition(".")
                trained[key] = getattr(clipped.get_submodule(layer), tensor)
        plain.load_state_dict({key: trained[key] for key in plain.state_dict()})
    return plain


@dataclass(frozen=True, eq=False)
class ClipCalibration(Calibration):
    """Grids whose ranges are clips, the same for every channel of a layer.

    Weights without a clip keep their full range, by min-max.
    """

    clips: ClipRanges = field(kw_only=True)

    def weight_grid(self, layer: str, bits: int) -> QuantizationGrid:
        """Symmetric grid over [-c, c]."""
        bound = self.clips.weights.get(layer)
        if bound is None:
            return super().weight_grid(layer, bits)
        channels = len(self.weights[layer])
        return symmetric_grid(torch.full((channels,), bound), bits, self.channel_axes[layer])

    def activation_grid(self, layer: str, bits: int) -> QuantizationGrid:
        """Affine grid over the clip; raises `InputError` for a layer whose input had none."""
        if layer not in self.clips.inputs:
            raise InputError(f"layer {layer!r}: its input had no clip, so no range is known")
        low, high = self.clips.inputs[layer]
        return affine_grid(torch.tensor(low), torch.tensor(high), bits)


def clip_calibration(
    model: nn.Module, network: NetworkDescription, ranges: ClipRanges
) -> ClipCalibration:
    """The calibration of a model that was trained under clips; it runs nothing."""
    layers = layers_of(model, [x.name for x in network if x.quantizable and x.function is None])
    axes = {name: channel_axis(layer) for name, layer in layers.items()}
    return ClipCalibration(
        weight_rule="minmax",
        activation_rule="minmax",
        weights={n: la.weight.detach().clone().movedim(axes[n], 0) for n, la in layers.items()},
        channel_axes=axes,
        inputs={},
        clips=ranges,
    )


def _bound(values: Tensor, share: float) -> float:
    """The least value that is not exceeded by this share of the values."""
    ordered = values.flatten().float().sort().values
    return float(ordered[max(int(-(-share * len(ordered) // 1)) - 1, 0)])


def _with_clipped_input(
    layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    clip = layer.get_submodule(_INPUT_CLIP)
    if args:
        return (clip(args[0]), *args[1:]), kwargs
    return args, {**kwargs, "input": clip(kwargs["input"])}
