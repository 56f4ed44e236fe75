"""Rules by which layers are tied: each finds layers that must agree in bits, and says why.

`activation_bits` are those of a layer's input, so a tie of activations says that the tensors which
some layers read are stored in one way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import networkx as nx

from bitwright.networks.kinds import ADDITIONS, CONCATENATIONS
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.ties import Tie

if TYPE_CHECKING:
    from bitwright.networks.calls import LayerCall
    from bitwright.networks.flow import Graph, Source

Calls = Sequence["LayerCall"]
DEFAULT_TIES = ("shared_input", "shared_weight")


def find_ties(graph: Graph, calls: Calls, rules: Iterable[str] = DEFAULT_TIES) -> tuple[Tie, ...]:
    """The ties that these rules find; raises `InputError` for an unknown rule.

    Layers that cannot be quantized are in no tie of activations: they stay in float32.
    """
    rules = tuple(rules)
    for rule in rules:
        if rule not in TIE_RULES:
            raise InputError(f"unknown rule of ties {rule!r}; {nearest(rule, TIE_RULES)}")
    ties: list[Tie] = []
    if joins := [rule for rule in ("addition", "concatenation") if rule in rules]:
        ties += _joined(graph, _quantizable(calls), joins)
    ties += [tie for rule in rules if rule not in joins for tie in TIE_RULES[rule](graph, calls)]
    return tuple(dict.fromkeys(ties))


def _quantizable(calls: Calls) -> list[LayerCall]:
    fixed = {call.name for call in calls if not call.quantizable}
    return [call for call in calls if call.name not in fixed]


def _shared_input(_: Graph, calls: Calls) -> list[Tie]:
    """Layers that read one tensor share its bits: it is stored only once."""
    readers: dict[Source, dict[str, None]] = {}
    for call in _quantizable(calls):
        if call.source is not None:
            readers.setdefault(call.source, {})[call.name] = None
    return [
        Tie(tuple(names), "activation", "read the same tensor")
        for names in readers.values()
        if len(names) > 1
    ]


def _shared_weight(_: Graph, calls: Calls) -> list[Tie]:
    """Layers that compute with one Parameter make the same choice: it is stored only once."""
    users: dict[str, dict[str, None]] = {}
    for call in calls:
        for weight in sorted(call.weights):
            users.setdefault(weight, {})[call.name] = None
    return [
        Tie(tuple(names), "all", f"share the Parameter {weight}")
        for weight, names in users.items()
        if len(names) > 1
    ]


def _joined(graph: Graph, calls: Calls, rules: Sequence[str]) -> list[Tie]:
    """Tensors that meet, and the result, live on one grid; the layers that read any share its bits.

    A grid is handed on by operations that invent no values, such as views, pooling by the maximum
    and ReLU. What no layer reads, such as a convolution's output that is only added, has no bits of
    its own and takes those of the others.
    """
    grids: nx.utils.UnionFind[Source] = nx.utils.UnionFind()
    joins: list[tuple[int, str]] = []
    for node, data in graph.nodes(data=True):
        read = list(_tensors_read(graph, node))
        rule = _rule_of(data["kind"]) if len(read) > 1 else None
        if rule in rules:
            joins.append((node, str(rule)))
        elif not (data["same_grid"] and len(read) == 1):
            continue
        grids.union(*read, *_tensors_made(graph, node))
    layers: dict[Source, dict[str, None]] = {}
    for call in calls:
        if call.source is not None:
            layers.setdefault(grids[call.source], {})[call.name] = None
    reasons: dict[Source, list[tuple[str, str]]] = {}
    for node, rule in joins:
        scope = str(graph.nodes[node]["scope"] or "the outermost module")
        reasons.setdefault(grids[node, 0], []).append((rule, scope))
    return [
        Tie(tuple(layers[grid]), "activation", _reason(found))
        for grid, found in reasons.items()
        if len(layers.get(grid, ())) > 1
    ]


def _rule_of(kind: str) -> str | None:
    if kind in ADDITIONS:
        return "addition"
    return "concatenation" if kind in CONCATENATIONS else None


def _reason(joins: Sequence[tuple[str, str]]) -> str:
    said = []
    for rule, word in (("addition", "added"), ("concatenation", "concatenated")):
        scopes = dict.fromkeys(scope for joined, scope in joins if joined == rule)
        if scopes:
            said.append(f"{word} in {', '.join(scopes)}")
    return "; ".join(said)


def _tensors_read(graph: Graph, node: int) -> Iterator[Source]:
    """The tensors with data of the run that a node reads."""
    for source, data in graph.pred[node].items():
        if not graph.nodes[source]["constant"]:
            yield from ((source, position) for position in data["outputs"])


def _tensors_made(graph: Graph, node: int) -> Iterator[Source]:
    """The outputs of a node that somebody reads, and the first in any case."""
    positions = {p for data in graph.succ[node].values() for p in data["outputs"]}
    yield from ((node, position) for position in {0, *positions})


def _hawq_v3(graph: Graph, calls: Calls) -> list[Tie]:
    """A shortcut's 1x1 convolution chooses as the block's first convolution, which reads the same."""
    return [
        _shortcut_tie(graph, (first, shortcut), "first")
        for shortcut, first, _ in _shortcuts(graph, _quantizable(calls))
        if first.source == shortcut.source
    ]


def _ompq(graph: Graph, calls: Calls) -> list[Tie]:
    """A shortcut's 1x1 convolution chooses as the block's last convolution, to which it is added."""
    return [
        _shortcut_tie(graph, (last, shortcut), "last")
        for shortcut, _, last in _shortcuts(graph, _quantizable(calls))
    ]


def _shortcut_tie(graph: Graph, calls: tuple[LayerCall, LayerCall], which: str) -> Tie:
    block = _common_scope(graph, calls) or "the outermost module"
    reason = f"shortcut beside the {which} convolution of {block}"
    return Tie(tuple(call.name for call in calls), "all", reason)


def _common_scope(graph: Graph, calls: Iterable[LayerCall]) -> str:
    scopes = [str(graph.nodes[call.node]["scope"]).split(".") for call in calls]
    common = []
    for names in zip(*scopes, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return ".".join(common)


def _shortcuts(graph: Graph, calls: Calls) -> Iterator[tuple[LayerCall, LayerCall, LayerCall]]:
    """Every 1x1 convolution that is added to a path from its own input: itself, first, last layer."""
    by_node = {call.node: call for call in calls}
    for node, data in graph.nodes(data=True):
        operands = [source for source, _ in _tensors_read(graph, node)]
        if _rule_of(data["kind"]) != "addition" or len(operands) != 2:
            continue
        for one, other in (operands, operands[::-1]):
            shortcut = by_node.get(_origin(graph, one, by_node))
            if shortcut is None or not _is_pointwise(shortcut) or shortcut.source is None:
                continue
            start = shortcut.source[0]
            between = nx.descendants(graph, start) & {other, *nx.ancestors(graph, other)}
            path = [by_node[n] for n in sorted(between) if n in by_node]
            if path and shortcut not in path:
                yield shortcut, path[0], path[-1]
                break


def _is_pointwise(call: LayerCall) -> bool:
    return bool(call.geometry.kernel) and set(call.geometry.kernel) == {1}


def _origin(graph: Graph, node: int, layers: Any) -> int:
    """The layer that a tensor comes from through operations of one input, or where that ends."""
    while node not in layers:
        before = [source for source, _ in _tensors_read(graph, node)]
        if len(before) != 1:
            break
        (node,) = before
    return node


TIE_RULES: dict[str, Callable[[Any, Calls], list[Tie]]] = {
    "shared_input": _shared_input,
    "shared_weight": _shared_weight,
    "addition": lambda graph, calls: _joined(graph, _quantizable(calls), ("addition",)),
    "concatenation": lambda graph, calls: _joined(graph, _quantizable(calls), ("concatenation",)),
    "hawq_v3": _hawq_v3,
    "ompq": _ompq,
}
"""The rules by name; additions and concatenations asked for together are followed together."""
