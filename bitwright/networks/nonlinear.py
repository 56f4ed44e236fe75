"""Which layers a nonlinear activation follows: one that integers can evaluate only by a table."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bitwright.networks.reading import TracedNetwork

if TYPE_CHECKING:
    from bitwright.networks.flow import Graph

NONLINEAR = frozenset({
    "silu", "mish", "gelu", "hardswish", "sigmoid", "logsigmoid", "hardsigmoid", "tanh", "softsign",
    "softplus", "elu", "celu", "selu", "glu", "softmax", "softmax2d", "logsoftmax",
})  # fmt: skip
"""Kinds of nodes, modules and functions alike, in lower case and without '_'. ReLU, ReLU6, leaky
ReLU and hard tanh are not among them: integers compute these exactly, up to one rescaling."""

_BATCH_NORMS = frozenset({"BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"})


def nonlinear_preactivations(traced: TracedNetwork) -> dict[str, str]:
    """For each layer that a nonlinear activation follows, the module whose output it reads.

    That is the batch norm where one alone reads the layer, else the layer itself. Other readers may
    stand beside the activation, as in `x * sigmoid(x)`. A layer that is called several times counts
    if every call is followed alike; layers that share one batch norm do not count.
    """
    graph = traced.graph
    nodes: dict[str, list[int]] = {}
    for node in graph:
        if (module := graph.nodes[node]["module"]) is not None:
            nodes.setdefault(module, []).append(node)
    found = {}
    for name in traced.description.names:
        ends = [_preactivation(graph, node) for node in nodes.get(name, ())]
        targets = {module for _, module in ends}
        if len(targets) == 1 and all(_feeds_nonlinear(graph, node) for node, _ in ends):
            (target,) = targets
            if len(nodes[target]) == len(ends):
                found[name] = target
    shared = Counter(found.values())
    return {name: target for name, target in found.items() if shared[target] == 1}


def _preactivation(graph: Graph, node: int) -> tuple[int, str]:
    """Node and module of the tensor that a call hands on, its batch norm included."""
    readers = list(graph.successors(node))
    if len(readers) == 1 and graph.nodes[readers[0]]["kind"] in _BATCH_NORMS:
        norm = graph.nodes[readers[0]]["module"]
        if norm is not None:
            return readers[0], norm
    return node, graph.nodes[node]["module"]


def _feeds_nonlinear(graph: Graph, node: int) -> bool:
    kinds = (graph.nodes[reader]["kind"] for reader in graph.successors(node))
    return any(kind.lower().replace("_", "") in NONLINEAR for kind in kinds)
