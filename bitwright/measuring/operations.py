"""The distinct operations of a network: layers that compute the same are measured once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from bitwright.networks import LAYER_TYPES, TracedNetwork
from bitwright.networks.relations import ACTIVATIONS
from bitwright.problems.errors import InputError
from bitwright.problems.network import LayerDescription
from bitwright.problems.operation import OperationKey, operation_key


@dataclass(frozen=True, eq=False)
class Operation:
    """A layer with what runs together with it, and all layers of the network that compute the same.

    `key` is what tables by operation list it under, with the activation behind its kind, or None
    where their columns cannot say what it computes. `modules` are the layer, its batch norm and its
    activation, as far as there are any.
    """

    name: str
    layers: tuple[str, ...]
    key: OperationKey | None
    modules: tuple[nn.Module, ...] = field(repr=False)
    input_shape: tuple[int, ...] = ()
    quantizable: bool = True

    def __str__(self) -> str:
        shape = "x".join(map(str, self.input_shape))
        return str(self.key) if self.key else f"{self.name} on {shape}"


@dataclass(frozen=True)
class LayersFound:
    """The operations of a network, and the layers that cannot be taken out of it, with the reason.

    `calls` counts how often one run of the network computes a layer.
    """

    operations: tuple[Operation, ...]
    left_out: Mapping[str, str]
    calls: Mapping[str, int]

    @property
    def operation_of(self) -> dict[str, Operation]:
        """The operation of every layer that has one."""
        return {layer: one for one in self.operations for layer in one.layers}


def find_operations(model: nn.Module, traced: TracedNetwork) -> LayersFound:
    """Find the distinct operations among the layers, in the order of the network."""
    found: dict[Any, list[LayerDescription]] = {}
    left_out: dict[str, str] = {}
    modules = dict(model.named_modules())
    for layer in traced.description:
        module = modules.get(layer.name)
        if layer.function is not None or not isinstance(module, LAYER_TYPES):
            left_out[layer.name] = f"{layer.kind} is no module that can be taken out of the network"
        else:
            found.setdefault(_signature(layer, modules), []).append(layer)
    operations = tuple(_operation(layers, modules) for layers in found.values())
    nodes = traced.graph.nodes(data=True)
    calls = Counter(str(data["layer"]) for _, data in nodes if data["layer"] is not None)
    return LayersFound(operations, left_out, calls)


def _operation(layers: list[LayerDescription], modules: Mapping[str, nn.Module]) -> Operation:
    first = layers[0]
    activation = _activation(first, modules)
    try:
        key = operation_key(first)
    except InputError:
        key = None
    if key is not None and activation:
        key = replace(key, op=f"{key.op}+{activation}")
    return Operation(
        name=first.name,
        layers=tuple(layer.name for layer in layers),
        key=key,
        modules=tuple(modules[name] for name in (first.name, *first.fused)),
        input_shape=first.input_shape,
        quantizable=first.quantizable,
    )


def _signature(layer: LayerDescription, modules: Mapping[str, nn.Module]) -> tuple[Any, ...]:
    """All that the time of a layer depends on, and that tells two operations apart."""
    module = modules[layer.name]
    geometry = ("padding", "padding_mode", "dilation", "output_padding")
    return (
        *(layer.kind, layer.in_channels, layer.out_channels, layer.kernel, layer.stride),
        *(layer.groups, layer.input_shape, layer.quantizable, _activation(layer, modules)),
        *(getattr(module, name, None) for name in geometry),
        module.bias is not None or len(layer.fused) > bool(_activation(layer, modules)),
    )


def _activation(layer: LayerDescription, modules: Mapping[str, nn.Module]) -> str:
    kinds = [type(modules[n]).__name__ for n in layer.fused if isinstance(modules[n], ACTIVATIONS)]
    return kinds[-1] if kinds else ""
