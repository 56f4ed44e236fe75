"""Calibration: one pass over data, after which every layer has a grid for every bit-width."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bitwright.networks import TRANSPOSED, Layer, as_inputs, layers_of
from bitwright.problems.errors import InputError, MeasurementError, nearest
from bitwright.problems.network import FunctionCall, NetworkDescription
from bitwright.problems.storage import group_size
from bitwright.quantization.functions import INPUT
from bitwright.quantization.grids import QuantizationGrid
from bitwright.quantization.ranges.clipping import (
    Scheme,
    activation_scheme_for,
    find_rule,
    grid_of,
)
from bitwright.quantization.ranges.input_ranges import observe_inputs
from bitwright.quantization.ranges.observers import ObservedValues
from bitwright.quantization.ranges.output_ranges import ObservedOutput, observed_outputs

OPTIONS = {
    "weight_scheme": ("symmetric", "affine"),
    "activation_scheme": ("affine", "symmetric"),
    "activation_ranges": ("static", "dynamic"),
}
"""What the options of a calibration can be; the first is what it is unless named."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The grids of a network's weights and layer inputs, at any bit-width.

    Weights are those of the moment of calibration, by layer, with the channels first. Grids are
    made when first asked for. The options are those of `calibrate`. `functions` says which layers
    functions compute; `operands` holds what these read besides their input, by layer and operand.
    """

    weight_rule: str
    activation_rule: str
    weights: Mapping[str, Tensor] = field(repr=False)
    channel_axes: Mapping[str, int] = field(repr=False)
    inputs: Mapping[str, ObservedValues] = field(repr=False)
    weight_scheme: Scheme = "symmetric"
    weight_granularity: str = "channel"
    activation_scheme: Scheme = "affine"
    activation_ranges: Literal["static", "dynamic"] = "static"
    _grids: dict[tuple[str, str, int], QuantizationGrid] = field(
        default_factory=dict, init=False, repr=False
    )
    outputs: Mapping[str, ObservedOutput] = field(default_factory=dict, repr=False, kw_only=True)
    functions: Mapping[str, FunctionCall] = field(default_factory=dict, repr=False, kw_only=True)
    operands: Mapping[tuple[str, str], ObservedValues] = field(
        default_factory=dict, repr=False, kw_only=True
    )

    def __post_init__(self) -> None:
        find_rule("weight", self.weight_rule)
        find_rule("activation", self.activation_rule)
        group_size(self.weight_granularity)
        for option, known in OPTIONS.items():
            if (choice := getattr(self, option)) not in known:
                raise InputError(f"{option} {choice!r} is unknown; {nearest(choice, known)}")

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the calibrated layers."""
        return tuple(dict.fromkeys([*self.weights, *self.functions]))

    def weight_grid(self, layer: str, bits: int) -> QuantizationGrid:
        """Grid of the layer's weights; by default symmetric, with one scale per output channel."""
        return self._cached("weight", layer, bits, self._make_weight_grid)

    def activation_grid(self, layer: str, bits: int) -> QuantizationGrid:
        """Grid of the layer's input, one scale for the whole tensor; by default affine.

        With dynamic ranges this is the grid of the calibration batches all the same.
        """
        return self._cached("activation", layer, bits, self._make_activation_grid)

    def operand_grid(self, layer: str, operand: str, bits: int) -> QuantizationGrid:
        """Grid of what a function reads, by the rule of activations, one scale for the tensor.

        `operand` is one of `bitwright.quantization.functions.operands_of` the call.
        """
        if operand == INPUT:
            return self.activation_grid(layer, bits)
        return self._cached(operand, layer, bits, partial(self._make_operand_grid, operand))

    def grid_of_values(self, values: ObservedValues, bits: int) -> QuantizationGrid:
        """Grid of any observed activations by the calibration's rule and scheme."""
        scheme = activation_scheme_for(self.activation_scheme, values)
        rule = find_rule("activation", self.activation_rule)
        return grid_of(rule(values, bits, scheme), bits, scheme)

    def _cached(
        self, side: str, layer: str, bits: int, make: Callable[[str, int], QuantizationGrid]
    ) -> QuantizationGrid:
        if layer not in self.weights and layer not in self.functions:
            raise InputError(f"layer {layer!r} was not calibrated; {nearest(layer, self.layers)}")
        key = (side, layer, bits)
        if key not in self._grids:
            self._grids[key] = make(layer, bits)
        return self._grids[key]

    def _make_weight_grid(self, layer: str, bits: int) -> QuantizationGrid:
        if layer not in self.weights:
            raise InputError(f"layer {layer!r} is a product of activations and has no weights")
        rule, scheme = find_rule("weight", self.weight_rule), self.weight_scheme
        rows = self.weights[layer].flatten(1)
        size = group_size(self.weight_granularity)
        if size is None:
            kept = rule(ObservedValues.of(rows.flatten()), bits, scheme)
            return grid_of(kept, bits, scheme)
        if size == 1:
            low, high = rule(ObservedValues.of(rows), bits, scheme)
        else:
            groups = torch.split(rows, size)
            ranges = [rule(ObservedValues.of(g.flatten()), bits, scheme) for g in groups]
            low, high = (
                torch.cat([end.expand(len(g)) for end, g in zip(ends, groups, strict=True)])
                for ends in zip(*ranges, strict=True)
            )
        return grid_of((low, high), bits, scheme, self.channel_axes[layer])

    def _make_activation_grid(self, layer: str, bits: int) -> QuantizationGrid:
        if layer not in self.inputs:
            raise MeasurementError(f"layer {layer!r} did not run on any calibration batch")
        return self.grid_of_values(self.inputs[layer], bits)

    def _make_operand_grid(self, operand: str, layer: str, bits: int) -> QuantizationGrid:
        if (layer, operand) not in self.operands:
            raise MeasurementError(f"layer {layer!r} did not run on any calibration batch")
        return self.grid_of_values(self.operands[layer, operand], bits)


def calibrate(
    model: nn.Module,
    network: NetworkDescription,
    batches: Iterable[tuple[Any, ...]],
    *,
    observe_outputs: Mapping[str, str] | None = None,
    weight_rule: str = "mse",
    activation_rule: str = "mse",
    weight_scheme: Scheme = "symmetric",
    weight_granularity: str = "channel",
    activation_scheme: Scheme = "affine",
    activation_ranges: Literal["static", "dynamic"] = "static",
) -> Calibration:
    """Look at the weights, and once at what flows into every layer, `model(*inputs)` per batch.

    Rules are names in `clipping.WEIGHT_RULES` and `ACTIVATION_RULES`, `percentile` also with a
    share (`percentile:99.9`). Schemes are `symmetric` or `affine`; a symmetric grid of activations
    is unsigned where no value is negative. `weight_granularity` says what shares a scale: an output
    `channel`, the whole `tensor`, or `group:16` neighbouring output channels. With `dynamic`
    ranges every call of a layer takes its grid from the extremes of its own input.

    `observe_outputs` names layers and, for each, the module at whose output its values are observed
    too. The model runs in evaluation mode and is left as it was. Raises `MeasurementError` on NaN or
    infinity, with the layer's name, and `InputError` for an option that is unknown.
    """
    functions = {layer.name: layer.function for layer in network if layer.function is not None}
    layers = layers_of(model, [n for n in network.quantizable_names if n not in functions])
    weights = {
        name: _channels_first(name, la.weight, channel_axis(la)) for name, la in layers.items()
    }
    axes = {name: channel_axis(layer) for name, layer in layers.items()}
    for name, call in functions.items():
        if call.parameter:
            parameter, axes[name] = model.get_parameter(call.parameter), call.channel_axis
            weights[name] = _channels_first(name, parameter, call.channel_axis)
    calibration = Calibration(
        weight_rule=weight_rule,
        activation_rule=activation_rule,
        weights=weights,
        channel_axes=axes,
        inputs={},
        weight_scheme=weight_scheme,
        weight_granularity=weight_granularity,
        activation_scheme=activation_scheme,
        activation_ranges=activation_ranges,
        functions=functions,
    )
    with observed_outputs(model, observe_outputs or {}) as outputs:
        inputs = observe_inputs(model, network.name, layers, functions, map(as_inputs, batches))
    return replace(
        calibration,
        inputs={name: values for (name, operand), values in inputs.items() if operand == INPUT},
        operands={key: values for key, values in inputs.items() if key[1] != INPUT},
        outputs=outputs,
    )


def channel_axis(layer: Layer) -> int:
    """The axis of the weight along which scales run; no output channel mixes two scales.

    Output channels are axis 0, or axis 1 in transposed convolutions. With groups these repeat
    axis 1 in every group, so that the groups share its scales; where every group has one input
    channel (depthwise), axis 0 tells the groups apart and is taken instead.
    """
    if not isinstance(layer, TRANSPOSED):
        return 0
    return 0 if layer.groups == layer.in_channels else 1


def _channels_first(name: str, parameter: Tensor, axis: int) -> Tensor:
    weight = parameter.detach()
    if not weight.isfinite().all():
        raise MeasurementError(f"layer {name!r}: its weights hold NaN or infinity")
    return weight.clone().movedim(axis, 0)
