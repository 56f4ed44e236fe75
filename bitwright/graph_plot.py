"""The drawing of a network: its layers from top to bottom, what they cost, and what ties them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from bitwright.graph_layout import MEETINGS, Place, places, skeleton
from bitwright.plot_base import BLUE, GREEN, GREY, ORANGE, PURPLE, label
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.text import figure as figure_text
from bitwright.text import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bitwright.graph_layout import Graph
    from bitwright.networks import TracedNetwork

_ROW, _LANE, _TEXT, _MARGIN = 0.34, 0.62, 2.9, 0.5  # inches
_LEAST, _MOST = 25.0, 330.0  # areas of markers, in square points
_YELLOW = "#E69F00"
_COLOURS = {
    "convolution": BLUE, "depthwise or grouped": GREEN, "transposed": "#56B4E9",
    "linear": ORANGE, "product of activations": _YELLOW, "other": GREY,
}  # fmt: skip
_MOST_TIES_SAID, _LONGEST = 16, 30


def draw_network(network: TracedNetwork) -> Figure:
    """Draw the layers and where their outputs meet; areas grow with multiply-adds.

    Colours are the kinds of layers. Layers in one tie bear its number in a ring of their own colour;
    the ties stand below with their reasons.
    """
    description, graph = network.description, skeleton(network.graph)
    at = places(graph)
    columns = max(place.column for place in at.values()) + 1
    rows = max(place.row for place in at.values()) + 1
    lanes = [max(p.lane for p in at.values() if p.column == c) + 1 for c in range(columns)]
    starts = [sum(_TEXT + _LANE * n for n in lanes[:c]) for c in range(columns)]
    said = _ties_text(description)
    foot = 0.5 + 0.16 * len(said)
    width = max(starts[-1] + _TEXT + _LANE * lanes[-1] + _MARGIN, 6.5)
    height = rows * _ROW + foot + 1.1
    figure = Figure(figsize=(width, height))
    axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axis.set(xlim=(-_MARGIN, width - _MARGIN), ylim=(-height + 1.0, 1.0))
    axis.set_axis_off()
    where = {n: (starts[p.column] + _LANE * p.lane, -_ROW * p.row) for n, p in at.items()}
    texts = {c: starts[c] + _LANE * lanes[c] - 0.25 for c in range(columns)}
    for a, b in graph.edges:
        _draw_edge(axis, (where[a], at[a]), (where[b], at[b]), _is_passed(at, a, b))
    for node in graph:
        side = 1 if at[node].lane else -1  # away from the arcs, and from the next lane's arrows
        _draw_node(axis, where[node], graph.nodes[node], description, side)
    _name_rows(axis, graph, at, texts, description)
    _head(axis, description, height)
    for line, text in enumerate(said):
        axis.text(
            -_MARGIN + 0.15, -rows * _ROW - 0.35 - 0.16 * line, text, fontsize=6.5, color=PURPLE,
            va="center", parse_math=False,
        )  # fmt: skip
    return figure


def _head(axis: Axes, network: NetworkDescription, height: float) -> None:
    axis.text(
        -_MARGIN + 0.15, 0.8, f"{label(network.name)}: {len(network)} layers, "
        f"{figure_text(network.parameters)} weights, {figure_text(network.macs)} multiply-adds "
        "(drawn as areas)", fontsize=10, va="center", parse_math=False,
    )  # fmt: skip
    kinds = dict.fromkeys(_family(layer) for layer in network)
    handles = [
        Line2D([], [], marker="o", linestyle="none", markersize=7, color=_COLOURS[k], label=k)
        for k in _COLOURS
        if k in kinds
    ]
    if network.ties:
        handles.append(
            Line2D(
                [], [], marker="o", linestyle="none", markersize=8, markerfacecolor="none",
                markeredgecolor=PURPLE, markeredgewidth=1.6, label="tied",
            )
        )  # fmt: skip
    axis.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.0, 1.0 - 0.33 / height),
        ncols=len(handles), frameon=False, fontsize=7, handletextpad=0.1, columnspacing=1.0,
    )  # fmt: skip


def _family(layer: LayerDescription) -> str:
    if layer.kind.startswith("ConvTranspose"):
        return "transposed"
    if layer.kind.startswith("Conv"):
        return "depthwise or grouped" if (layer.groups or 1) > 1 else "convolution"
    if layer.kind == "Linear":
        return "linear"
    return "product of activations" if layer.kind in ("MatMul", "Attention") else "other"


def _is_passed(at: Mapping[int, Place], a: int, b: int) -> bool:
    """Whether a straight line between two nodes would run through others of the same lane."""
    first, last = at[a], at[b]
    return any(
        p.lane == first.lane and p.column == first.column and first.row < p.row < last.row
        for p in at.values()
    )


def _draw_edge(
    axis: Axes,
    start: tuple[tuple[float, float], Place],
    end: tuple[tuple[float, float], Place],
    passed: bool,
) -> None:
    (one, first), (other, last) = start, end
    if first.column != last.column:
        _draw_fold(axis, one, other)
        return
    arc = passed and first.lane == last.lane
    # An arc bulges by its chord times the factor: the same for short and long ways around.
    bend = min(0.42, 0.5 / abs(one[1] - other[1])) if arc else 0.0
    axis.add_patch(
        FancyArrowPatch(
            one, other, arrowstyle="-|>", mutation_scale=6, shrinkA=5, shrinkB=6, linewidth=0.9,
            color="#333333" if arc else "#999999", connectionstyle=f"arc3,rad={-bend}", zorder=1,
        )
    )  # fmt: skip


def _draw_fold(axis: Axes, one: tuple[float, float], other: tuple[float, float]) -> None:
    """From the foot of a column to the head of the next, outside of what stands between."""
    gap = other[0] - 0.3
    xs = [one[0], one[0], gap, gap, other[0], other[0]]
    ys = [one[1], one[1] - 0.6 * _ROW, one[1] - 0.6 * _ROW, other[1] + 0.6 * _ROW]
    axis.plot(
        xs, [*ys, other[1] + 0.6 * _ROW, other[1]], color="#BBBBBB", linewidth=0.9,
        linestyle=(0, (4, 2)), zorder=0,
    )  # fmt: skip


def _draw_node(
    axis: Axes, at: tuple[float, float], data: Any, network: NetworkDescription, side: int
) -> None:
    """Draw a layer, or where tensors meet; numbers of ties stand left (-1) or right (1) of it."""
    if data["layer"] is None:
        axis.scatter(*at, s=70, color="white", edgecolors="#333333", linewidths=0.8, zorder=2)
        if symbol := MEETINGS.get(data["kind"]):
            axis.text(*at, symbol, fontsize=7, ha="center", va="center", zorder=3)
        return
    layer = network[data["layer"]]
    largest = max(other.macs for other in network)
    area = _LEAST + (_MOST - _LEAST) * layer.macs / largest if largest else _LEAST
    axis.scatter(*at, s=area, color=_COLOURS[_family(layer)], linewidths=0, zorder=2)
    numbers = [str(i) for i, tie in enumerate(network.ties, 1) if layer.name in tie.layers]
    if numbers:
        ring = (math.sqrt(area) + 4) ** 2
        axis.scatter(*at, s=ring, facecolors="none", edgecolors=PURPLE, linewidths=1.4, zorder=3)
        axis.annotate(
            ",".join(numbers), at, xytext=(side * (math.sqrt(ring) / 2 + 1), 4), fontsize=6,
            textcoords="offset points", ha="left" if side > 0 else "right", va="center",
            color=PURPLE, parse_math=False, zorder=4,
        )  # fmt: skip


def _name_rows(
    axis: Axes,
    graph: Graph,
    at: Mapping[int, Place],
    texts: Mapping[int, float],
    network: NetworkDescription,
) -> None:
    """Name what stands in every row to its right, in the order of the lanes."""
    rows: dict[tuple[int, int], list[int]] = {}
    for node in sorted(graph, key=lambda n: at[n].lane):
        rows.setdefault((at[node].column, at[node].row), []).append(node)
    for (column, row), nodes in rows.items():
        names = _without_repeats([_name(graph, node, network) for node in nodes])
        axis.text(
            texts[column], -_ROW * row, label(" | ".join(names), 56), fontsize=6.5, va="center",
            parse_math=False,
        )  # fmt: skip


def _without_repeats(names: list[str]) -> list[str]:
    """The names of a row; those after the first without the modules that they have in common."""
    first, *others = [name for name in names if name] or [""]
    shown = [first]
    for name in others:
        parts, common = name.split("."), 0
        for mine, its in zip(parts[:-1], first.split("."), strict=False):
            if mine != its:
                break
            common += 1
        shown.append(".".join(parts[common:]))
    return shown


def _name(graph: Graph, node: int, network: NetworkDescription) -> str:
    data = graph.nodes[node]
    if data["layer"] is None:
        return data["kind"] if data["kind"] in ("input", "output") else ""
    layer = network[data["layer"]]
    kernel = "x".join(str(n) for n in layer.kernel)
    return f"{shortened(layer.name, _LONGEST)} {kernel}".rstrip()


def _ties_text(network: NetworkDescription) -> list[str]:
    lines = [
        f"{i}: {'all' if tie.side == 'all' else tie.side} bits, {label(tie.reason, 110)}"
        for i, tie in enumerate(network.ties, 1)
    ]
    if len(lines) <= _MOST_TIES_SAID:
        return lines
    return [*lines[:_MOST_TIES_SAID], f"... and {len(lines) - _MOST_TIES_SAID} more ties"]
