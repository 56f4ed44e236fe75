"""What the graph says about layers: which modules run together with one, and which must agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from torch import nn

from bitwright.networks.trace import LayerCall
from bitwright.problems.ties import Tie

if TYPE_CHECKING:
    from bitwright.networks.trace import Graph

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU),
    *(nn.SiLU, nn.Mish, nn.Softplus, nn.Sigmoid, nn.Tanh),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh),
)


def fused_modules(model: nn.Module, graph: Graph, nodes: Iterable[int]) -> tuple[str, ...]:
    """Batch norm and activation that alone read what a layer computes, in order.

    `nodes` are the calls of one layer; a module must follow all of them to count.
    """
    chains = {_chain(model, graph, node) for node in nodes}
    return chains.pop() if len(chains) == 1 else ()


def _chain(model: nn.Module, graph: Graph, node: int) -> tuple[str, ...]:
    chain: list[str] = []
    for kinds in (BATCH_NORMS, ACTIVATIONS):
        name = _only_reader(graph, node)
        if name is not None and isinstance(model.get_submodule(name), kinds):
            chain.append(name)
            (node,) = graph.successors(node)
    return tuple(chain)


def _only_reader(graph: Graph, node: int) -> str | None:
    """Name of the one module that reads the node; None for several readers or a function."""
    readers = list(graph.successors(node))
    return graph.nodes[readers[0]]["module"] if len(readers) == 1 else None


def shared_input_ties(graph: Graph, calls: Sequence[LayerCall]) -> tuple[Tie, ...]:
    """Layers that read one tensor are tied in activation bits: the tensor is stored only once."""
    readers: dict[tuple[int, ...], dict[str, None]] = {}  # by node and output position
    for call in calls:
        for source in graph.predecessors(call.node):
            tensor = (source, *graph.edges[source, call.node]["outputs"])
            readers.setdefault(tensor, {})[call.name] = None
    ties = [
        Tie(tuple(names), "activation", "read the same tensor")
        for names in readers.values()
        if len(names) > 1
    ]
    return tuple(dict.fromkeys(ties))
