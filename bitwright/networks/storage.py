"""What a network stores besides its layers' weights: biases, scales, batch norms that stay, and the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bitwright.networks.layers import LAYER_TYPES, TRANSPOSED, Layer
from bitwright.networks.norms import plan_folding

if TYPE_CHECKING:
    from bitwright.networks.reading import TracedNetwork
    from bitwright.problems.network import NetworkDescription

FLOAT_BYTES = 4


def with_storage(model: nn.Module, traced: TracedNetwork) -> NetworkDescription:
    """The description with the sizes that an exported file has beside the weights.

    A batch norm that can be folded into quantized layers is counted as their biases.
    """
    modules = dict(model.named_modules())
    folds = plan_folding(model, traced, into_scales=True).folds
    layers, apart = [], sum(_state_bytes(modules[norm]) for norm in set(folds.values()))
    for layer in traced.description:
        module = modules.get(layer.name)
        apart += FLOAT_BYTES * layer.parameters
        if not isinstance(module, LAYER_TYPES):
            if layer.function is not None and layer.function.parameter:
                weight = model.get_parameter(layer.function.parameter)
                channels = weight.shape[layer.function.channel_axis]
                layers.append(replace(layer, weight_channels=channels))
            else:
                layers.append(layer)
            continue
        biases = 0 if module.bias is None else module.bias.numel()
        apart += FLOAT_BYTES * biases
        folded = 0
        if layer.name in folds:
            folded = biases = _channels(modules[folds[layer.name]])
        layers.append(
            replace(
                layer,
                bias_parameters=biases,
                weight_channels=weight_channels(module),
                folded_channels=folded,
            )
        )
    other = max(_state_bytes(model) - apart, 0)
    return replace(traced.description, layers=tuple(layers), other_bytes=other)


def weight_channels(layer: Layer) -> int:
    """How many scales a weight has that is quantized per channel.

    With groups, the output channels of a transposed convolution share those of axis 1, unless
    every group has one input channel.
    """
    if isinstance(layer, TRANSPOSED) and layer.groups != layer.in_channels:
        return layer.weight.shape[1]
    return layer.weight.shape[0]


def _channels(norm: nn.Module) -> int:
    assert isinstance(norm, _BatchNorm)
    return norm.num_features


def _state_bytes(module: nn.Module) -> int:
    """Bytes of parameters and buffers in float32, but for what only training reads."""
    found = {id(tensor): tensor for tensor in module.parameters()}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if name.rpartition(".")[2] != "num_batches_tracked":
            found[id(tensor)] = tensor
    return sum(tensor.numel() * tensor.element_size() for tensor in found.values())
