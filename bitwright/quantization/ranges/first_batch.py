"""Activation ranges without calibration data: from the first batch that a quantized model sees."""

from __future__ import annotations

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

    Whether it has started is in the state dict, so that a loaded model does not start again.
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
