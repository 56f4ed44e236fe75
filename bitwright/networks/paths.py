"""Which layers stand before and behind a tensor, with no other layer in between."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bitwright.problems.network import Link

if TYPE_CHECKING:
    from bitwright.networks.calls import LayerCall
    from bitwright.networks.flow import Graph, Source

Layers = int
"""A set of layers: bit i stands for the i-th. Large networks have many sets, and long ones."""


class Paths:
    """The nearest layers up and down the graph, for every node that handles data of the run."""

    def __init__(self, graph: Graph, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._graph = graph
        bits = {name: 1 << i for i, name in enumerate(self.names)}
        self._own = {node: bits.get(data["layer"], 0) for node, data in graph.nodes(data=True)}
        self._up: dict[int, Layers] = {}
        self._down: dict[int, Layers] = {}
        self._readers: dict[Source, Layers] = defaultdict(int)
        for node in graph:  # nodes are numbered in the order of execution
            self._up[node] = self.above(node)
        for node in reversed(list(graph)):
            for reader, data in graph.succ[node].items():
                found = self._own[reader] or self._down[reader]
                for position in data["outputs"]:
                    self._readers[node, position] |= found
            self._down[node] = self._of_all_outputs(node)

    def above(self, node: int) -> Layers:
        """The layers whose outputs reach what a node reads."""
        found = 0
        for source in self._graph.pred[node]:
            if not self._graph.nodes[source]["constant"]:
                found |= self._own[source] or self._up[source]
        return found

    def makers(self, node: int) -> Layers:
        """The layers whose outputs reach what a node writes; the layer itself where it is one."""
        return self._own[node] or self._up[node]

    def readers(self, tensor: Source) -> Layers:
        """The layers that read a tensor, or something computed from it."""
        return self._readers.get(tensor, 0)

    def named(self, layers: Layers) -> tuple[str, ...]:
        """The names of a set, in the order of the network."""
        return tuple(self.names[i] for i in _bits(layers))

    def _of_all_outputs(self, node: int) -> Layers:
        found = 0
        for data in self._graph.succ[node].values():
            for position in data["outputs"]:
                found |= self._readers[node, position]
        return found


def find_links(paths: Paths, calls: Sequence[LayerCall]) -> tuple[Link, ...]:
    """The links of a network; a layer that is called several times reads all of its inputs."""
    elements: dict[tuple[str, str], int] = {}
    for call in calls:
        count = math.prod(call.input_shape)
        for source in paths.named(paths.above(call.node)):
            if source != call.name and count:
                pair = (source, call.name)
                elements[pair] = elements.get(pair, 0) + count
    return tuple(Link(source, target, count) for (source, target), count in elements.items())


def _bits(layers: Layers) -> Iterator[int]:
    while layers:
        lowest = layers & -layers
        yield lowest.bit_length() - 1
        layers ^= lowest
