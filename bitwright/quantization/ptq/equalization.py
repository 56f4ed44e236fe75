"""Cross-layer equalisation: channel ranges evened out between consecutive layers.

ReLU is positively homogeneous, `relu(s * x) = s * relu(x)` for s > 0, so that output channel i of
one layer can be divided by s_i and the next layer's weights that read it multiplied by s_i without
changing what the network computes. With s_i = sqrt(r1_i / r2_i), both layers' ranges of channel i
become sqrt(r1_i * r2_i) (Nagel et al. 2019, arXiv 1906.04721).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn

from bitwright.networks import Layer, TracedNetwork, layers_of
from bitwright.problems.errors import InputError, nearest
from bitwright.quantization.ptq.channels import (
    channel_count,
    channel_factors,
    channel_ranges,
    layer_modules,
)

if TYPE_CHECKING:
    from bitwright.networks.flow import Graph

HOMOGENEOUS = frozenset(
    {
        *("ReLU", "relu", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "dropout"),
        *(
            f"{kind}Pool{n}d"
            for kind in ("Max", "Avg", "AdaptiveAvg", "AdaptiveMax")
            for n in "123"
        ),
        *(f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg") for n in "123"),
    }
)
"""Operations that keep channels apart, and give s times as much for s > 0 times as much."""


def equalize_layers(
    model: nn.Module,
    traced: TracedNetwork,
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    passes: int = 20,
) -> nn.Module:
    """A copy in which the weight ranges of consecutive layers are evened out, channel by channel.

    The copy computes what the model does, up to float rounding. Batch norms between two layers stand
    in the way: fold them first. `pairs` are layers by name, those of `equalizable_pairs` unless
    given; raises `InputError` for a pair between which the function would change. Chains of layers
    are gone through `passes` times, or until nothing moves.
    """
    known = equalizable_pairs(model, traced)
    chosen = known if pairs is None else tuple(pairs)
    for pair in chosen:
        if pair not in known:
            listed = nearest(" -> ".join(pair), [" -> ".join(p) for p in known])
            raise InputError(
                f"layers {pair[0]!r} and {pair[1]!r} cannot be equalized: they must follow each "
                f"other with nothing but ReLU or pooling between; {listed}"
            )
    twin = copy.deepcopy(model)
    layers = layers_of(twin, {name: None for pair in chosen for name in pair})
    with torch.no_grad():
        for _ in range(passes):
            moved = [_equalize(layers[first], layers[second]) for first, second in chosen]
            if not moved or max(moved) < 1e-3:
                break
    return twin


def equalizable_pairs(model: nn.Module, traced: TracedNetwork) -> tuple[tuple[str, str], ...]:
    """Layers (first, second) where only the second reads the first, through ReLU, pooling or nothing.

    Each runs once, and their weights are plain parameters of their own. In order of execution.
    """
    graph, layers = traced.graph, layer_modules(model, traced.description.quantizable_names)
    modules = [graph.nodes[node]["module"] for node in graph]
    weights = [id(layer._parameters.get("weight")) for layer in layers.values()]
    single = {
        name
        for name, layer in layers.items()
        if modules.count(name) == 1 and weights.count(id(layer._parameters.get("weight"))) == 1
        if "weight" in layer._parameters
    }
    pairs = []
    for node in graph:
        first = graph.nodes[node]["module"]
        if first not in single:
            continue
        second = _only_layer_after(graph, node, layers)
        if second in single and _fit(layers[first], layers[second]):
            pairs.append((first, second))
    return tuple(pairs)


def _fit(first: Layer, second: Layer) -> bool:
    """Whether the second reads the first's channels as its own; flattening would multiply them."""
    made, read = channel_count(first, "output"), channel_count(second, "input")
    return made == read and isinstance(first, nn.Linear) == isinstance(second, nn.Linear)


def _only_layer_after(graph: Graph, node: int, layers: Collection[str]) -> str | None:
    """The layer that alone reads the node through homogeneous operations, or None."""
    while True:
        readers = list(graph.successors(node))
        if len(readers) != 1:
            return None
        (node,) = readers
        if graph.in_degree(node) != 1:
            return None
        name, kind = graph.nodes[node]["module"], graph.nodes[node]["kind"]
        if name in layers:
            return str(name)
        if kind not in HOMOGENEOUS:
            return None


def _equalize(first: Layer, second: Layer) -> float:
    """Even out one pair in place; returns the largest change of a channel, in log units."""
    made, read = channel_ranges(first, "output"), channel_ranges(second, "input")
    alive = (made > 0) & (read > 0)
    factors = torch.where(alive, (made / read).sqrt(), torch.ones_like(made))
    first.weight /= channel_factors(first, "output", factors)
    second.weight *= channel_factors(second, "input", factors)
    if first.bias is not None:
        first.bias /= factors
    return float(factors.log().abs().max())
