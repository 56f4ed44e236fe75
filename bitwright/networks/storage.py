"""What a network stores besides its layers' weights: biases, scales, batch norms that stay, and the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bitwright.networks.layers import LAYER_TYPES, TRANSPOSED, Layer

if TYPE_CHECKING:
    from bitwright.networks.flow import Graph
    from bitwright.problems.network import NetworkDescription

FLOAT_BYTES = 4


def with_storage(
    model: nn.Module, description: NetworkDescription, graph: Graph
) -> NetworkDescription:
    """The description with the sizes that an exported file has beside the weights.

    A batch norm that can be folded into its layer is counted as the layer's bias.
    """
    modules = dict(model.named_modules())
    layers, apart = [], 0
    for layer in description:
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
        norm = folding_norm(model, graph, layer.name, len(layer.output_shape))
        if norm is not None:
            apart += _state_bytes(modules[norm])
            biases = _norm(modules[norm]).num_features
        channels = weight_channels(module)
        layers.append(replace(layer, bias_parameters=biases, weight_channels=channels))
    other = max(_state_bytes(model) - apart, 0)
    return replace(description, layers=tuple(layers), other_bytes=other)


def weight_channels(layer: Layer) -> int:
    """How many scales a weight has that is quantized per channel.

    With groups, the output channels of a transposed convolution share those of axis 1, unless
    every group has one input channel.
    """
    if isinstance(layer, TRANSPOSED) and layer.groups != layer.in_channels:
        return layer.weight.shape[1]
    return layer.weight.shape[0]


def folding_norm(model: nn.Module, graph: Graph, layer: str, output_rank: int) -> str | None:
    """The batch norm that can be folded into the layer: it alone reads it, and nothing else.

    Of a transposed convolution with groups, and of a `Linear` whose output has another rank than 2,
    the norm's channels are not those of the weights, and nothing folds.
    """
    module = model.get_submodule(layer)
    if isinstance(module, TRANSPOSED) and module.groups > 1:
        return None
    if isinstance(module, nn.Linear) and output_rank != 2:
        return None
    calls = _nodes_of(graph, layer)
    readers = {reader for node in calls for reader in graph.successors(node)}
    norms = {graph.nodes[reader]["module"] for reader in readers}
    if len(norms) != 1 or len(readers) != len(calls):
        return None
    (norm,) = norms
    if norm is None or not isinstance(model.get_submodule(norm), _BatchNorm):
        return None
    has_statistics = _norm(model.get_submodule(norm)).running_mean is not None
    sources = {source for node in _nodes_of(graph, norm) for source in graph.predecessors(node)}
    return norm if has_statistics and sources <= set(calls) else None


def _nodes_of(graph: Graph, module: str) -> list[int]:
    return [node for node, data in graph.nodes(data=True) if data["module"] == module]


def _norm(module: nn.Module) -> _BatchNorm:
    assert isinstance(module, _BatchNorm)
    return module


def _state_bytes(module: nn.Module) -> int:
    """Bytes of parameters and buffers in float32, but for what only training reads."""
    found = {id(tensor): tensor for tensor in module.parameters()}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if name.rpartition(".")[2] != "num_batches_tracked":
            found[id(tensor)] = tensor
    return sum(tensor.numel() * tensor.element_size() for tensor in found.values())
