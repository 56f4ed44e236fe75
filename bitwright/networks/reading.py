"""Reading a model: one run on example inputs gives its description and its graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from bitwright.networks.evaluation import evaluation_mode, failures_reported
from bitwright.networks.layers import call_macs, layer_kind
from bitwright.networks.relations import fused_modules, shared_input_ties
from bitwright.networks.storage import with_storage
from bitwright.networks.trace import LayerCall, Trace
from bitwright.problems.errors import InputError
from bitwright.problems.network import LayerDescription, NetworkDescription

if TYPE_CHECKING:
    from bitwright.networks.trace import Graph


@dataclass(frozen=True, eq=False)
class TracedNetwork:
    """A network as one run showed it: its layers, and the graph of operations between them.

    What nodes and edges of the graph hold is said in `bitwright.networks.trace.Trace`.
    """

    description: NetworkDescription
    graph: Graph


def read_network(
    model: nn.Module, example_inputs: tuple[Any, ...], name: str = "network"
) -> TracedNetwork:
    """Describe a model by one run, `model(*example_inputs)`, in evaluation mode.

    Layers are the convolutions and `Linear` modules that the run reaches, under their first name in
    `model.named_modules()`; a module that is called several times is one layer. Multiply-adds are
    those of the inputs given. The model is left as it was. Raises `MeasurementError` when the run
    fails and `InputError` when it reaches no layer.
    """
    trace = Trace()
    with evaluation_mode(model), failures_reported(name, example_inputs):
        trace.run(model, example_inputs)
    description = with_storage(model, _describe(model, trace, name), trace.graph)
    return TracedNetwork(description, trace.graph)


def _describe(model: nn.Module, trace: Trace, name: str) -> NetworkDescription:
    calls: dict[str, list[LayerCall]] = {}
    for call in trace.calls:
        calls.setdefault(call.name, []).append(call)
    if "" in calls:
        raise InputError(
            f"network {name!r} is itself a layer without a name; wrap it in nn.Sequential"
        )
    layers = tuple(_describe_layer(model, trace.graph, of_layer) for of_layer in calls.values())
    return NetworkDescription(name, layers, shared_input_ties(trace.graph, trace.calls))


def _describe_layer(model: nn.Module, graph: Graph, calls: Sequence[LayerCall]) -> LayerDescription:
    first = calls[0]
    return LayerDescription(
        name=first.name,
        kind=layer_kind(first.layer),
        parameters=first.layer.weight.numel(),
        macs=sum(call_macs(call.layer, call.input, call.output) for call in calls),
        input_shape=tuple(first.input.shape),
        output_shape=tuple(first.output.shape),
        fused=fused_modules(model, graph, [call.node for call in calls]),
    )
