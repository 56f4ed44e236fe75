"""Which layers feed which: where a change of precision between two layers costs something."""

from __future__ import annotations

import math

from bitwright.networks import TracedNetwork
from bitwright.problems.network import Link


def links_of(traced: TracedNetwork) -> tuple[Link, ...]:
    """The links that the description records or, where it records none, those of the graph."""
    if traced.description.links:
        return traced.description.links
    graph = traced.graph
    layer_of = {node: data["layer"] for node, data in graph.nodes(data=True)}
    found: dict[tuple[str, str], Link] = {}
    for node, target in layer_of.items():
        if target is None:
            continue
        elements = math.prod(traced.description[target].input_shape)
        open_nodes, seen = list(graph.predecessors(node)), set()
        while open_nodes:
            before = open_nodes.pop()
            if before in seen:
                continue
            seen.add(before)
            source = layer_of[before]
            if source is None:
                open_nodes.extend(graph.predecessors(before))
            elif source != target:
                found[source, target] = Link(source, target, elements)
    return tuple(found.values())
