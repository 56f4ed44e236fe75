"""Bias correction: taking back the mean error that rounding leaves in every output channel.

Rounding shifts the mean of a layer's output, E[Q(W) x^] - E[W x], channel by channel; the bias can
take the shift back (Nagel et al. 2019, arXiv 1906.04721, section 4.2, the empirical form of
appendix D). It costs nothing at inference.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bitwright.networks import Layer, evaluation_mode, failures_reported, layers_of
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.network import NetworkDescription
from bitwright.quantization.apply import apply_configuration
from bitwright.quantization.calibration import Calibration
from bitwright.quantization.ptq.channels import layer_modules, output_channel_axis

Batches = Sequence[tuple[Any, ...]]


def correct_biases(
    model: nn.Module,
    network: NetworkDescription,
    configuration: BitConfiguration,
    calibration: Calibration,
    batches: Iterable[tuple[Any, ...]],
    *,
    reference: nn.Module | None = None,
) -> nn.Module:
    """A float copy whose biases, once the configuration is applied, undo the mean error of rounding.

    Layers are corrected in order of execution, each with those before it quantized and corrected
    already, from `model(*inputs)` of every batch; layers without a bias are given one. `reference`
    is the float network, the model itself unless given (its weights may have been rounded).
    """
    kept = list(batches)
    if not kept:
        raise InputError("bias correction needs one batch or more, got none")
    chosen = layer_modules(model, configuration)
    names = [name for name in network.names if name in chosen]
    wanted = output_means(reference or model, names, kept, network.name)
    twin = copy.deepcopy(model)
    layers = layer_modules(twin, names)
    with apply_configuration(twin, configuration, calibration):
        for name in names:
            found = output_means(twin, [name], kept, network.name)
            if name in found:
                _shift(layers[name], wanted[name] - found[name])
    return twin


def output_means(
    model: nn.Module, layers: Iterable[str], batches: Batches, network: str
) -> dict[str, Tensor]:
    """Mean output of every output channel of the layers, shape (channels,), over all batches.

    In float64. Layers that no batch reaches are left out.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def add(name: str, layer: nn.Module, _: Any, output: Tensor) -> None:
        axis = output_channel_axis(layer, output)
        rows = output.detach().double().movedim(axis, 0).flatten(1)
        sums[name] = sums.get(name, 0) + rows.sum(dim=1)
        counts[name] = counts.get(name, 0) + rows.shape[1]

    handles = [
        layer.register_forward_hook(partial(add, name))
        for name, layer in layers_of(model, layers).items()
    ]
    try:
        with evaluation_mode(model):
            for inputs in batches:
                with failures_reported(network, inputs):
                    model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: sums[name] / counts[name] for name in sums}


def _shift(layer: Layer, shift: Tensor) -> None:
    with torch.no_grad():
        if layer.bias is None:
            layer.bias = nn.Parameter(shift.to(layer.weight.dtype))
        else:
            layer.bias += shift.to(layer.bias.dtype)
