"""Folding batch norms into the layers before them, as integer hardware does.

In evaluation mode a batch norm is `y = (x - mean) * gamma / sqrt(variance + eps) + beta`, one factor
and one offset per channel, which the layer's weight and bias can take over (Jacob et al. 2018,
arXiv 1712.05877, section 3.2). Fold before calibrating, so that the grids are those of the weights
that the hardware holds; then a model is to be trained (QAT) without its batch norms.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bitwright.networks import Layer, TracedNetwork, layers_of
from bitwright.quantization.ptq.channels import channel_count, channel_factors, layer_modules

if TYPE_CHECKING:
    from bitwright.networks.flow import Graph


@dataclass(frozen=True)
class FoldingPlan:
    """Which batch norm each layer takes over, and why the other batch norms stay (by name)."""

    folds: Mapping[str, str]
    left: Mapping[str, str]


def fold_batch_norms(model: nn.Module, traced: TracedNetwork) -> nn.Module:
    """A copy in which every batch norm that alone follows a layer is folded into the layer.

    The norm's place is taken by `nn.Identity`, so names and graph of the layers stay. In evaluation
    mode the copy computes the same up to float rounding. `traced` is what `read_network` says of the
    model; `plan_folding` tells which norms are folded, and why others are left.
    """
    plan = plan_folding(model, traced)
    twin = copy.deepcopy(model)
    layers = layers_of(twin, plan.folds)
    norms = {name: twin.get_submodule(name) for name in set(plan.folds.values())}
    for name, norm in plan.folds.items():
        _fold(layers[name], norms[norm])
    gone = {id(norm) for norm in norms.values()}
    for parent in list(twin.modules()):
        for child, module in list(parent._modules.items()):
            if id(module) in gone:
                parent._modules[child] = nn.Identity().train(parent.training)
    return twin


def plan_folding(model: nn.Module, traced: TracedNetwork) -> FoldingPlan:
    """Which batch norms `fold_batch_norms` folds, and why it leaves the others.

    A norm is folded when every one of its calls reads a layer's output that nothing else reads, and
    those layers are followed by this norm in all of their calls.
    """
    calls: dict[str, list[int]] = {}
    for node, data in traced.graph.nodes(data=True):
        if data["module"] is not None:
            calls.setdefault(data["module"], []).append(node)
    modules = layer_modules(model, traced.description.quantizable_names)
    layers = {name: (layer, calls[name]) for name, layer in modules.items() if name in calls}
    folds: dict[str, str] = {}
    left: dict[str, str] = {}
    for name, nodes in calls.items():
        norm = model.get_submodule(name)
        if not isinstance(norm, _BatchNorm):
            continue
        sources = _sources(traced.graph, nodes)
        reason = _obstacle(model, norm, sources, traced, layers)
        if reason:
            left[name] = reason
        else:
            folds |= {str(source): name for source in sources}
    return FoldingPlan(folds, left)


def _sources(graph: Graph, nodes: list[int]) -> set[str | None]:
    """Modules whose outputs the calls of a norm read; None for a function or the input."""
    return {graph.nodes[source]["module"] for node in nodes for source in graph.predecessors(node)}


def _obstacle(
    model: nn.Module,
    norm: _BatchNorm,
    sources: set[str | None],
    traced: TracedNetwork,
    layers: Mapping[str, tuple[Layer, list[int]]],
) -> str:
    """Why the norm cannot be folded into the layers it reads; empty if it can."""
    if norm.running_mean is None or norm.running_var is None:
        return "it keeps no running statistics"
    for source in sources:
        if source is None or source not in layers:
            return "it does not follow a layer directly"
        layer, nodes = layers[source]
        for node in nodes:
            readers = [traced.graph.nodes[n]["module"] for n in traced.graph.successors(node)]
            if any(r is None or model.get_submodule(r) is not norm for r in readers):
                return f"something else reads the output of layer {source!r} too"
        if "weight" not in layer._parameters:
            return f"the weight of layer {source!r} is computed, not a plain parameter"
        if not _channels_agree(layer, norm, traced, source, len(nodes)):
            return f"its channels are not the output channels of layer {source!r}"
    return ""


def _channels_agree(
    layer: Layer, norm: _BatchNorm, traced: TracedNetwork, name: str, calls: int
) -> bool:
    """Whether the norm's channels (axis 1) are the layer's.

    A `BatchNorm1d` takes two or three axes, so that the shape seen must tell; only the first call's
    is known.
    """
    if isinstance(layer, nn.Linear | nn.Conv1d | nn.ConvTranspose1d) and calls > 1:
        return False
    axes = max(2, layer.weight.ndim)
    seen = len(traced.description[name].output_shape)
    return seen == axes and norm.num_features == channel_count(layer, "output")


def _fold(layer: Layer, norm: nn.Module) -> None:
    """Give the layer the weight and bias that make the norm needless; computed in float64."""
    assert isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.detach().double()
    offset = -norm.running_mean.double() * factor
    if norm.bias is not None:
        offset = offset + norm.bias.detach().double()
    weight = layer.weight.detach()
    if layer.bias is not None:
        offset = offset + layer.bias.detach().double() * factor
    folded = weight.double() * channel_factors(layer, "output", factor)
    layer.weight = nn.Parameter(folded.to(weight.dtype), layer.weight.requires_grad)
    layer.bias = nn.Parameter(offset.to(weight.dtype), layer.weight.requires_grad)
