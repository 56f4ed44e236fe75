"""Activation ranges without calibration data: from the first batch that a quantized model sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from bitwright.networks import layers_of
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import MeasurementError
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.quantization.calibration import Calibration, calibrate
from bitwright.quantization.grids import QuantizationGrid, affine_grid
from bitwright.quantization.quantizers import IntegerQuantizer
from bitwright.quantization.ranges.observers import Observer

_INNER = "quantizer."


class FirstBatchCalibration(Calibration):
    """Grids of weights, and for activations a place for those of the first batch."""

    def _make_activation_grid(self, layer: str, bits: int) -> QuantizationGrid:
        if layer in self.inputs:
            return super()._make_activation_grid(layer, bits)
        return affine_grid(torch.tensor(0.0), torch.tensor(1.0), bits)

    def grid_of(self, layer: str, bits: int, tensor: Tensor) -> QuantizationGrid:
        """The grid that the activation rule gives a layer's input."""
        observer = Observer()
        try:
            observer.update(tensor)
        except ValueError as error:
            raise MeasurementError(f"layer {layer!r}: its first input holds {error}") from error
        observed = observer.result()
        if observed is None:
            raise MeasurementError(f"layer {layer!r}: its first input is empty")
        seen = replace(self, weights={layer: torch.empty(0)}, inputs={layer: observed})
        return seen.activation_grid(layer, bits)


def calibrate_weights(
    model: nn.Module, configuration: BitConfiguration, *, weight_rule: str, activation_rule: str
) -> FirstBatchCalibration:
    """Find the grids of the weights of a configuration's layers; the model is not run."""
    layers = layers_of(model, [name for name, p in configuration.items() if not p.is_float32])
    described = NetworkDescription(
        type(model).__name__,
        tuple(
            LayerDescription(name, type(layer).__name__, layer.weight.numel(), 0, (), ())
            for name, layer in layers.items()
        ),
    )
    found = calibrate(
        model, described, (), weight_rule=weight_rule, activation_rule=activation_rule
    )
    return FirstBatchCalibration(
        **{f.name: getattr(found, f.name) for f in fields(found) if f.init}
    )


class FirstBatchQuantizer(IntegerQuantizer):
    """Starts a quantizer at the range of the first tensor that it is given, then leaves it alone.

    Once it has started its state is that of the quantizer alone, so that state dicts load into models
    that were calibrated, and theirs into this one, which then does not start again.
    """

    started: Tensor

    def __init__(
        self,
        quantizer: IntegerQuantizer,
        calibration: FirstBatchCalibration,
        layer: str,
        bits: int,
    ) -> None:
        super().__init__()
        self.quantizer, self.layer, self.bits = quantizer, layer, bits
        # The rules alone: a module that is copied should not carry the weights of the network.
        self._rules = replace(calibration, weights={}, channel_axes={}, inputs={})
        self.register_buffer("started", torch.tensor(False))
        self.register_state_dict_post_hook(_as_quantizer)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_from_quantizer)  # type: ignore[no-untyped-call]

    def start(self, grid: QuantizationGrid) -> None:
        """Begin anew at a grid of the same codes."""
        self.quantizer.start(grid)
        self.started.fill_(True)

    @property
    def grid(self) -> QuantizationGrid:
        """The grid as it is now; raises `MeasurementError` before the first batch."""
        if not self.started:
            raise MeasurementError(
                f"layer {self.layer!r} has seen no batch yet: its activations have no range"
            )
        return self.quantizer.grid

    def forward(self, tensor: Tensor) -> Tensor:
        """Round the tensor, after taking the range from it if it is the first."""
        if not self.started:
            self.start(self._rules.grid_of(self.layer, self.bits, tensor))
        rounded: Tensor = self.quantizer(tensor)
        return rounded


def _as_quantizer(
    module: nn.Module, state: dict[str, Tensor], prefix: str, _metadata: Mapping[str, object]
) -> None:
    """Give the state of a started quantizer out as its own, without a word of the first batch."""
    if not module.started:
        return
    del state[f"{prefix}started"]
    inner = f"{prefix}{_INNER}"
    for key in [key for key in state if key.startswith(inner)]:
        state[prefix + key.removeprefix(inner)] = state.pop(key)


def _from_quantizer(
    _module: nn.Module, state: dict[str, Tensor], prefix: str, *_rest: object
) -> None:
    """Take the state of a quantizer that has its grid."""
    own = [key for key in state if key.startswith(prefix)]
    if not own or f"{prefix}started" in own:
        return
    for key in own:
        state[f"{prefix}{_INNER}{key.removeprefix(prefix)}"] = state.pop(key)
    state[f"{prefix}started"] = torch.tensor(True)
