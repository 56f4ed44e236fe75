"""Which batch norm can be folded into which layer, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bitwright.networks.layers import LAYER_TYPES, TRANSPOSED, Layer

if TYPE_CHECKING:
    from bitwright.networks.flow import Graph
    from bitwright.networks.reading import TracedNetwork
    from bitwright.problems.network import LayerDescription


@dataclass(frozen=True)
class FoldingPlan:
    """Which batch norm each layer takes over, and why the other batch norms stay (by name)."""

    folds: Mapping[str, str]
    left: Mapping[str, str]


def plan_folding(
    model: nn.Module, traced: TracedNetwork, *, into_scales: bool = False
) -> FoldingPlan:
    """Which batch norms of a model can be folded into its layers; `traced` is what was read of it.

    A norm is folded when every one of its calls reads a layer's output that nothing else reads, and
    those layers are followed by this norm in all of their calls. `into_scales`: the weights are
    codes already, so that only their scales can take a norm's factors, one per channel; the groups
    of a transposed convolution share theirs.
    """
    calls: dict[str, list[int]] = {}
    for node, data in traced.graph.nodes(data=True):
        if data["module"] is not None:
            calls.setdefault(data["module"], []).append(node)
    folds: dict[str, str] = {}
    left: dict[str, str] = {}
    for name, nodes in calls.items():
        norm = model.get_submodule(name)
        if not isinstance(norm, _BatchNorm):
            continue
        sources = _sources(traced.graph, nodes)
        obstacles = ["it keeps no running statistics"] if norm.running_mean is None else []
        for source in sources:
            layer = None if source is None else model.get_submodule(source)
            if source is None or not isinstance(layer, LAYER_TYPES):
                obstacles.append("it does not follow a layer directly")
                continue
            obstacles += _obstacles(layer, source, calls[source], name, traced)
            if not _channels_agree(layer, norm, traced.description[source], len(calls[source])):
                obstacles.append(f"its channels are not the output channels of layer {source!r}")
            if into_scales and isinstance(layer, TRANSPOSED) and layer.groups > 1:
                obstacles.append(f"the groups of layer {source!r} share scales")
        if obstacles:
            left[name] = obstacles[0]
        else:
            folds |= {str(source): name for source in sources}
    return FoldingPlan(folds, left)


def _sources(graph: Graph, nodes: list[int]) -> list[str | None]:
    """Modules whose outputs the calls of a norm read; None for a function or the input."""
    read = [source for node in nodes for source in graph.predecessors(node)]
    sources = [source for source in read if not graph.nodes[source].get("constant", False)]
    return list(dict.fromkeys(graph.nodes[source]["module"] for source in sources))


def _obstacles(
    layer: Layer, name: str, calls: list[int], norm: str, traced: TracedNetwork
) -> Iterator[str]:
    """Why no norm, or not this one alone, could be folded into the layer."""
    graph = traced.graph
    readers = {graph.nodes[reader]["module"] for call in calls for reader in graph.successors(call)}
    if readers != {norm}:
        yield f"something else reads the output of layer {name!r} too"
    if not traced.description[name].quantizable:
        yield f"the weight of layer {name!r} is used elsewhere too"
    if "weight" not in layer._parameters:
        yield f"the weight of layer {name!r} is computed, not a plain parameter"


def _channels_agree(
    layer: Layer, norm: _BatchNorm, description: LayerDescription, calls: int
) -> bool:
    """Whether the norm's channels (axis 1) are the layer's.

    A `BatchNorm1d` takes two or three axes, so that the shape seen must tell; only the first call's
    is known.
    """
    if isinstance(layer, nn.Linear | nn.Conv1d | nn.ConvTranspose1d) and calls > 1:
        return False
    channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    has_axes = len(description.output_shape) == max(2, layer.weight.ndim)
    return has_axes and norm.num_features == channels
