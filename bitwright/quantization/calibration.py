"""Calibration: one pass over data, after which every layer has a grid for every bit-width."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from bitwright.networks import TRANSPOSED, Layer, evaluation_mode, failures_reported, layers_of
from bitwright.problems.errors import InputError, MeasurementError, nearest
from bitwright.problems.network import NetworkDescription
from bitwright.quantization.clipping import ACTIVATION_RULES, WEIGHT_RULES
from bitwright.quantization.grids import QuantizationGrid, affine_grid, symmetric_grid
from bitwright.quantization.observers import ObservedValues, Observer
from bitwright.quantization.output_ranges import ObservedOutput, observed_outputs


@dataclass(frozen=True, eq=False)
class Calibration:
    """The grids of a network's weights and layer inputs, at any bit-width.

    Weights are those of the moment of calibration, by layer, with the channels first. Grids are
    made when first asked for.
    """

    weight_rule: str
    activation_rule: str
    weights: Mapping[str, Tensor] = field(repr=False)
    channel_axes: Mapping[str, int] = field(repr=False)
    inputs: Mapping[str, ObservedValues] = field(repr=False)
    _grids: dict[tuple[str, str, int], QuantizationGrid] = field(
        default_factory=dict, init=False, repr=False
    )
    outputs: Mapping[str, ObservedOutput] = field(default_factory=dict, repr=False, kw_only=True)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the calibrated layers."""
        return tuple(self.weights)

    def weight_grid(self, layer: str, bits: int) -> QuantizationGrid:
        """Symmetric grid of the layer's weights, one scale per output channel."""
        return self._cached("weight", layer, bits, self._make_weight_grid)

    def activation_grid(self, layer: str, bits: int) -> QuantizationGrid:
        """Affine grid of the layer's input, one scale for the whole tensor."""
        return self._cached("activation", layer, bits, self._make_activation_grid)

    def _cached(
        self, side: str, layer: str, bits: int, make: Callable[[str, int], QuantizationGrid]
    ) -> QuantizationGrid:
        if layer not in self.weights:
            raise InputError(f"layer {layer!r} was not calibrated; {nearest(layer, self.weights)}")
        key = (side, layer, bits)
        if key not in self._grids:
            self._grids[key] = make(layer, bits)
        return self._grids[key]

    def _make_weight_grid(self, layer: str, bits: int) -> QuantizationGrid:
        max_abs = WEIGHT_RULES[self.weight_rule](self.weights[layer].flatten(1), bits)
        return symmetric_grid(max_abs, bits, self.channel_axes[layer])

    def _make_activation_grid(self, layer: str, bits: int) -> QuantizationGrid:
        if layer not in self.inputs:
            raise MeasurementError(f"layer {layer!r} did not run on any calibration batch")
        return affine_grid(*ACTIVATION_RULES[self.activation_rule](self.inputs[layer], bits), bits)


def calibrate(
    model: nn.Module,
    network: NetworkDescription,
    batches: Iterable[tuple[Any, ...]],
    *,
    observe_outputs: Mapping[str, str] | None = None,
    weight_rule: str = "mse",
    activation_rule: str = "mse",
) -> Calibration:
    """Look at the weights, and once at what flows into every layer, `model(*inputs)` per batch.

    `observe_outputs` names layers and, for each, the module at whose output its values are observed
    too. The model runs in evaluation mode and is left as it was. Raises `MeasurementError` on NaN or
    infinity, with the layer's name.
    """
    _check_rule("weight", weight_rule, WEIGHT_RULES)
    _check_rule("activation", activation_rule, ACTIVATION_RULES)
    layers = layers_of(model, network.names)
    weights = {name: _channels_first(name, layer) for name, layer in layers.items()}
    with observed_outputs(model, observe_outputs or {}) as outputs:
        inputs = _observe_inputs(model, network.name, layers, batches)
    return Calibration(
        weight_rule=weight_rule,
        activation_rule=activation_rule,
        weights=weights,
        channel_axes={name: channel_axis(layer) for name, layer in layers.items()},
        inputs=inputs,
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


def _channels_first(name: str, layer: Layer) -> Tensor:
    weight = layer.weight.detach()
    if not weight.isfinite().all():
        raise MeasurementError(f"layer {name!r}: its weights hold NaN or infinity")
    return weight.clone().movedim(channel_axis(layer), 0)


def _observe_inputs(
    model: nn.Module,
    network: str,
    layers: Mapping[str, Layer],
    batches: Iterable[tuple[Any, ...]],
) -> dict[str, ObservedValues]:
    observers = {name: Observer() for name in layers}
    handles = [
        layer.register_forward_pre_hook(partial(_observe, name, observers[name]), with_kwargs=True)
        for name, layer in layers.items()
    ]
    try:
        with evaluation_mode(model):
            for inputs in batches:
                with failures_reported(network, inputs):
                    model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    results = {name: observer.result() for name, observer in observers.items()}
    return {name: observed for name, observed in results.items() if observed is not None}


def _observe(name: str, observer: Observer, _: nn.Module, args: Any, kwargs: Any) -> None:
    try:
        observer.update(args[0] if args else kwargs["input"])
    except ValueError as error:
        raise MeasurementError(f"layer {name!r}: its input holds {error}") from error


def _check_rule(side: str, rule: str, known: Mapping[str, object]) -> None:
    if rule not in known:
        raise InputError(f"{side} rule {rule!r} is unknown; {nearest(rule, known)}")
