"""Reading a model: one run on example inputs gives its description and its graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bitwright.networks.calls import LayerCall
from bitwright.networks.evaluation import evaluation_mode, failures_reported
from bitwright.networks.memory import find_tensors
from bitwright.networks.paths import Paths, find_links
from bitwright.networks.relations import Follower, fused_activation, fused_modules, module_followers
from bitwright.networks.storage import with_storage
from bitwright.networks.ties import DEFAULT_TIES, find_ties
from bitwright.networks.trace import Trace
from bitwright.problems.errors import InputError
from bitwright.problems.network import FunctionCall, LayerDescription, NetworkDescription

if TYPE_CHECKING:
    from bitwright.networks.flow import Graph


@dataclass(frozen=True, eq=False)
class TracedNetwork:
    """A network as one run showed it: its layers, and the graph of operations between them.

    What nodes and edges of the graph hold is said in `bitwright.networks.trace.Trace`.
    """

    description: NetworkDescription
    graph: Graph


def read_network(
    model: nn.Module,
    example_inputs: tuple[Any, ...],
    name: str = "network",
    *,
    ties: Iterable[str] = DEFAULT_TIES,
) -> TracedNetwork:
    """Describe a model by one run, `model(*example_inputs)`, in evaluation mode.

    Layers are the convolutions and `Linear` modules that the run reaches, under their first name in
    `model.named_modules()`, and whatever else takes multiply-adds: functional calls, under the name
    of their Parameter, and products of activations, under the module that computes them. What is
    called several times is one layer. Multiply-adds are those of the inputs given. `ties` are rules
    of `bitwright.networks.ties.TIE_RULES`. The model is left as it was. Raises `MeasurementError`
    when the run fails and `InputError` when it reaches no layer, or where a module is scripted.
    """
    for module_name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                f"network {name!r}: module {module_name!r} is scripted, so its operations cannot be "
                "followed; read the model before torch.jit.script"
            )
    trace = Trace(model)
    with evaluation_mode(model), failures_reported(name, example_inputs):
        trace.run(example_inputs)
    if any(call.name == "" for call in trace.calls):
        raise InputError(
            f"network {name!r} is itself a layer without a name; wrap it in nn.Sequential"
        )
    traced = describe(name, trace.graph, trace.calls, module_followers(model), ties)
    return replace(traced, description=with_storage(model, traced))


def describe(
    name: str, graph: Graph, calls: Sequence[LayerCall], follower: Follower, ties: Iterable[str]
) -> TracedNetwork:
    """Put together what is known of every layer from its calls and the graph."""
    fixed = _not_quantizable(graph, calls)
    calls = [replace(call, quantizable=call.name not in fixed) for call in calls]
    by_layer: dict[str, list[LayerCall]] = {}
    for call in calls:
        by_layer.setdefault(call.name, []).append(call)
    counted: set[str] = set()
    layers = []
    for of_layer in by_layer.values():
        first = of_layer[0]
        is_new = not first.weights or not first.weights <= counted
        counted |= first.weights
        fused = fused_modules(graph, [call.node for call in of_layer], follower)
        layers.append(
            LayerDescription(
                name=first.name,
                kind=first.kind,
                parameters=first.parameters if is_new else 0,
                macs=sum(call.macs for call in of_layer),
                input_shape=first.input_shape,
                output_shape=first.output_shape,
                fused=fused,
                activation=fused_activation(graph, fused, follower),
                quantizable=first.quantizable,
                function=first.function if first.quantizable else None,
                **asdict(first.geometry),
            )
        )
    paths = Paths(graph, [layer.name for layer in layers])
    description = NetworkDescription(
        name,
        tuple(layers),
        find_ties(graph, calls, ties),
        links=find_links(paths, calls),
        tensors=find_tensors(graph, paths),
    )
    return TracedNetwork(description, graph)


def _not_quantizable(graph: Graph, calls: Sequence[LayerCall]) -> set[str]:
    """Layers that a call shows as such, and those that share a weight with one.

    A function's call must be known again: it is the same in every call of the layer, its own, and its
    weight belongs to no module that computes with it too.
    """
    fixed = {call.name for call in calls if not call.quantizable}
    modules = {data["module"] for _, data in graph.nodes(data=True)} - {None}
    layer_of: dict[FunctionCall | None, str] = {}
    function_of: dict[str, FunctionCall | None] = {}
    for call in calls:
        known = call.function
        if function_of.setdefault(call.name, known) != known:
            fixed.add(call.name)
        if known is not None and layer_of.setdefault(known, call.name) != call.name:
            fixed |= {call.name, layer_of[known]}
        if known is not None and known.parameter.rpartition(".")[0] in modules:
            fixed.add(call.name)
    while True:
        weights = {w for call in calls if call.name in fixed for w in call.weights}
        more = {call.name for call in calls if call.weights & weights}
        if more <= fixed:
            return fixed
        fixed |= more
