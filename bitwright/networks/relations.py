"""Which operations run together with a layer: batch norm and activation that alone read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from bitwright.networks.flow import Graph

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU),
    *(nn.SiLU, nn.Mish, nn.Softplus, nn.Sigmoid, nn.Tanh),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh),
)
Follower = Callable[[str, str], int]
"""From a node's module and kind: 1 for a batch norm, 2 for an activation, 0 for anything else."""


def module_followers(model: nn.Module) -> Follower:
    """The modules of a model that may run together with the layer before them."""

    def rank(module: str, _: str) -> int:
        found = model.get_submodule(module)
        return 1 if isinstance(found, BATCH_NORMS) else 2 * isinstance(found, ACTIVATIONS)

    return rank


def kind_followers(module: str, kind: str) -> int:  # noqa: ARG001 - as `Follower` is called
    """The same by the kind of a node alone, for graphs that come from no model."""
    norms, activations = ({c.__name__ for c in cs} for cs in (BATCH_NORMS, ACTIVATIONS))
    return 1 if kind in norms else 2 * (kind in activations)


def fused_modules(graph: Graph, nodes: Iterable[int], follower: Follower) -> tuple[str, ...]:
    """Batch norm and activation that alone read what a layer computes, in order.

    `nodes` are the calls of one layer; a module must follow all of them to count.
    """
    chains = {_chain(graph, node, follower) for node in nodes}
    return chains.pop() if len(chains) == 1 else ()


def fused_activation(graph: Graph, fused: Iterable[str], follower: Follower) -> str:
    """The kind of the activation among fused modules; empty for none."""
    kinds = {data["module"]: data["kind"] for _, data in graph.nodes(data=True)}
    return next((kinds[name] for name in fused if follower(name, kinds[name]) == 2), "")


def _chain(graph: Graph, node: int, follower: Follower) -> tuple[str, ...]:
    chain: list[str] = []
    for rank in (1, 2):
        readers = list(graph.successors(node))
        if len(readers) != 1:  # the output is stored for somebody else too
            break
        data = graph.nodes[readers[0]]
        if data["module"] is not None and follower(data["module"], data["kind"]) == rank:
            chain.append(data["module"])
            (node,) = readers
    return tuple(chain)
