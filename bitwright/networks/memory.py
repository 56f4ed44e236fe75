"""What a run keeps in memory: which tensors are alive at which step, in the model's own order.

Steps are the operations that make a tensor, or bring several together. Others work where their
input lies: views, operations in place, and batch norms and activations that alone read their input,
which run together with what computes it. Weights and what is computed from them alone are no
activations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import networkx as nx

from bitwright.networks.paths import Layers, Paths
from bitwright.problems.network import ActivationTensor

if TYPE_CHECKING:
    from bitwright.networks.flow import Graph, Source

_IN_PLACE = frozenset({
    *("batchnorm", "batchnorm1d", "batchnorm2d", "batchnorm3d", "syncbatchnorm"),
    *("relu", "relu6", "leakyrelu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish"),
    *("softplus", "softsign", "sigmoid", "logsigmoid", "tanh", "hardswish", "hardsigmoid"),
    *("hardtanh", "erf"),
})  # fmt: skip
"""Batch norms and activations, modules and functions alike, in lower case and without '_'."""


@dataclass
class _Held:
    """A piece of memory while the graph is gone through."""

    elements: int
    first: int
    last: int
    makers: Layers = 0
    readers: Layers = 0


def find_tensors(graph: Graph, paths: Paths) -> tuple[ActivationTensor, ...]:
    """The tensors of a run that have elements; none where the graph does not tell all sizes."""
    held: dict[Source, _Held] = {}
    places = _Places(graph)
    step = 0
    for node, data in graph.nodes(data=True):
        if data["constant"]:
            continue
        read = {places.of(source) for source in _read(graph, node)}
        written = places.written(node)
        is_step = node > 0 and (len(read) > 1 or not held.keys() >= written.keys())
        step += is_step and data["kind"] != "output"
        if is_step or data["kind"] == "output":
            for memory in read:
                held[memory].last = step
        for memory, elements in written.items():
            if elements is None:
                return ()
            one = held.setdefault(memory, _Held(elements, step, step))
            one.makers |= paths.makers(node)
        for output in _outputs(graph, node):
            held[places.of(output)].readers |= paths.readers(output)
    return tuple(
        ActivationTensor(
            one.elements,
            paths.named(one.makers),
            paths.named(one.readers),
            (one.first, one.last),
        )
        for one in held.values()
        if one.elements
    )


class _Places:
    """In which memory every output of every node lies, once all that can work in place."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._moved: dict[Source, Source] = {}
        values = _values(graph)
        readers: dict[Source, set[int]] = {}
        for node in graph:
            if not _is_view(graph, node):
                for source in _read(graph, node):
                    readers.setdefault(values[source], set()).add(node)
        for node in graph:
            read = set(_read(graph, node))
            if len(read) == 1 and _can_work_in_place(graph, node):
                (source,) = read
                is_alone = readers[values[source]] == {node}
                old, new = self.of(source), (node, 0)
                if is_alone and old[0] != 0 and self._elements(old) == self._elements(new):
                    self._moved[new] = old

    def of(self, output: Source) -> Source:
        """The memory of an output that holds data of the run."""
        first = _memory(self._graph, output)
        return self._moved.get(first, first)

    def written(self, node: int) -> dict[Source, int | None]:
        """The memories in which the outputs of a node lie, with their elements."""
        memories = [self.of(output) for output in _outputs(self._graph, node)]
        return {memory: self._elements(memory) for memory in memories}

    def _elements(self, output: Source) -> int | None:
        node, position = output
        elements: int | None = self._graph.nodes[node]["memory"][position][1]
        return elements


def _values(graph: Graph) -> nx.utils.UnionFind[Source]:
    """Outputs that show the same values: views of one tensor, between two writes in place."""
    values: nx.utils.UnionFind[Source] = nx.utils.UnionFind()
    for node, data in graph.nodes(data=True):
        if data["constant"]:
            continue
        shown: dict[Source, list[Source]] = {}
        for output in _outputs(graph, node):
            shown.setdefault(_memory(graph, output), []).append(output)
        if _is_view(graph, node):
            (source,) = _read(graph, node)
            shown[_memory(graph, source)].append(source)
        for same in shown.values():
            values.union(*same)
    return values


def _is_view(graph: Graph, node: int) -> bool:
    """Whether a node only looks at the one tensor that it reads in another way."""
    read, data = list(_read(graph, node)), graph.nodes[node]
    if len(read) != 1 or data["constant"] or data["in_place"]:
        return False
    memories = {_memory(graph, output) for output in _outputs(graph, node)}
    return memories == {_memory(graph, read[0])}


def _can_work_in_place(graph: Graph, node: int) -> bool:
    """Whether a node is a batch norm or an activation that makes a tensor of its own."""
    data = graph.nodes[node]
    if data["kind"].lower().replace("_", "") not in _IN_PLACE or data["constant"]:
        return False
    return [_memory(graph, output) for output in _outputs(graph, node)] == [(node, 0)]


def _memory(graph: Graph, output: Source) -> Source:
    node, position = output
    memory: Source = graph.nodes[node]["memory"][position][0]
    return memory


def _outputs(graph: Graph, node: int) -> Iterator[Source]:
    """The tensors with data of the run that a node makes or writes."""
    for position, memory in enumerate(graph.nodes[node]["memory"]):
        if memory is not None:
            yield node, position


def _read(graph: Graph, node: int) -> Iterator[Source]:
    """The tensors with data of the run that a node reads."""
    for source, data in graph.pred[node].items():
        for position in data["outputs"]:
            if graph.nodes[source]["memory"][position] is not None:
                yield source, position
