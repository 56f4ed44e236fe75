"""Where the layers of a network stand in its drawing: rows from top to bottom, lanes side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx

if TYPE_CHECKING:
    Graph = nx.DiGraph[int]

MEETINGS = {
    "add": "+", "iadd": "+", "sub": "-", "cat": "||", "concat": "||", "stack": "||", "mul": "x",
}  # fmt: skip
_ROWS = 30


@dataclass(frozen=True)
class Place:
    """A node's column (the drawing is folded into columns), row in it from the top, and lane."""

    column: int
    row: int
    lane: int


def skeleton(graph: Graph) -> Graph:
    """Input, output, layers, and the operations in which tensors meet on their way to a layer.

    An edge stands for all ways through operations that are left out; what comes after the last
    layer, such as a detector's choice of boxes, is left out too.
    """
    layers = [node for node, layer in graph.nodes(data="layer") if layer]
    before = set(layers).union(*(nx.ancestors(graph, node) for node in layers))
    kept: Graph = nx.DiGraph()
    nearest: dict[int, frozenset[int]] = {}
    for node, data in graph.nodes(data=True):
        reached = frozenset[int]().union(*(nearest[p] for p in graph.pred[node]))
        meets = data["kind"] in MEETINGS and len(reached) > 1
        is_end = data["kind"] in ("input", "output")
        if data["layer"] or is_end or (meets and (node in before or _is_late(graph, node))):
            kept.add_node(node, **data)
            kept.add_edges_from((p, node) for p in reached)
            reached = frozenset([node])
        nearest[node] = reached
    return kept


def _is_late(graph: Graph, node: int) -> bool:
    """Whether a meeting after the last layer leads straight to the output, as a last addition does."""
    return any(graph.nodes[reader]["kind"] == "output" for reader in graph.succ[node])


def places(graph: Graph) -> dict[int, Place]:
    """A place for every node: rows by the longest way from the input, columns of some thirty rows."""
    depth = _longest(graph, list(graph))
    height = _longest(graph.reverse(), list(graph)[::-1])
    lanes = _lanes(graph, depth, height)
    starts = _column_starts(graph, depth)
    found = {}
    for node in graph:
        column = max(i for i, start in enumerate(starts) if start <= depth[node])
        found[node] = Place(column, depth[node] - starts[column], lanes[node])
    return found


def _longest(graph: Graph, order: Sequence[int]) -> dict[int, int]:
    depth: dict[int, int] = {}
    for node in order:
        depth[node] = max((depth[p] + 1 for p in graph.pred[node]), default=0)
    return depth


def _lanes(graph: Graph, depth: dict[int, int], height: dict[int, int]) -> dict[int, int]:
    """The lane of the deepest predecessor, or the next that is free in the row; long ways go first."""
    lanes: dict[int, int] = {}
    taken: set[tuple[int, int]] = set()

    def rank(node: int) -> Any:
        return depth[node], -height[node], node

    for node in sorted(graph, key=rank):
        before = sorted(graph.pred[node], key=lambda p: (-depth[p], lanes[p]))
        lane = lanes[before[0]] if before else 0
        if (depth[node], lane) in taken:
            lane = next(n for n in range(len(graph)) if (depth[node], n) not in taken)
        lanes[node] = lane
        taken.add((depth[node], lane))
    return lanes


def _column_starts(graph: Graph, depth: dict[int, int]) -> list[int]:
    """Rows at which columns start: of those that make a column nearly full, where fewest edges cross."""
    starts, last = [0], max(depth.values())
    while last - starts[-1] >= _ROWS + _ROWS // 5:
        offered = range(starts[-1] + _ROWS - _ROWS // 4, starts[-1] + _ROWS + 1)
        starts.append(
            min(offered, key=lambda row: (_crossing(graph, depth, row), -row)),
        )
    return starts


def _crossing(graph: Graph, depth: dict[int, int], row: int) -> int:
    return sum(depth[a] < row <= depth[b] for a, b in graph.edges)
