"""The roofline of a device with the layers of a network below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter

from bitwright.cost_models.roofline import LayerEstimate
from bitwright.plot_base import BLUE, GREEN, GREY, ORANGE, PURPLE, label, lay_out
from bitwright.plot_labels import name_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", GREY)
_MARKERS = "osD^vPX"
_ROOF, _DOTS_OF_A_LINE = "black", 80
_MOST_NAMED = 8
_LONGEST_LABEL, _LONGEST_TITLE = 40, 90


def draw_roofline(network: str, estimates: Mapping[str, Sequence[LayerEstimate]]) -> Figure:
    """Draw what every layer attains against its multiply-adds per byte, both logarithmic.

    `estimates` are those of all layers by the label of a precision, for one device. Bytes are those
    of the farthest memory, whose bandwidth is the slope; the flat roofs are the peaks. A layer lies
    below them where its overhead or another memory holds it up. The slowest layers are named.
    """
    drawn = {p: [e for e in of if e.macs and e.moved[-1]] for p, of in estimates.items()}
    drawn = {p: of for p, of in drawn.items() if of}
    figure = Figure(figsize=(8.4, 5.6), layout="constrained")
    axis = figure.subplots()
    axis.set(xscale="log", yscale="log")
    points = {p: np.array([_place(e) for e in of]) for p, of in drawn.items()}
    for number, (precision, of) in enumerate(points.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        axis.plot(
            of[:, 0], of[:, 1], linestyle="", marker=_MARKERS[number % len(_MARKERS)],
            markersize=5, color=colour, alpha=0.8, label=label(precision, _LONGEST_LABEL),
        )  # fmt: skip
    if drawn:
        _draw_roofs(axis, drawn, np.concatenate(list(points.values())))
        device = next(iter(drawn.values()))[0].device
        axis.set_title(
            f"{label(network)} on {label(device.title, _LONGEST_TITLE)}", fontsize="medium",
            parse_math=False,
        )  # fmt: skip
        memory = label(device.memories[-1].name, _LONGEST_LABEL)
        axis.set_xlabel(f"multiply-adds per byte of {memory}", parse_math=False)
    axis.set_ylabel("multiply-adds per second")
    for ruler in (axis.xaxis, axis.yaxis):
        ruler.set_major_formatter(EngFormatter(sep=""))
        ruler.set_minor_formatter(NullFormatter())
    axis.grid(color="#e4e4e4", linewidth=0.6)
    axis.set_axisbelow(True)
    if drawn:
        axis.legend(
            frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0),
            title="bits",
        )  # fmt: skip
        lay_out(figure)
        _name_slowest(axis, drawn, np.concatenate(list(points.values())))
    return figure


def _place(estimate: LayerEstimate) -> tuple[float, float]:
    """Multiply-adds per byte of the farthest memory, and per second."""
    seconds = estimate.latency_us() / 10**6
    attained = Fraction(estimate.macs) / seconds if seconds else Fraction(0)
    return estimate.macs / estimate.moved[-1], float(attained)


def _draw_roofs(
    axis: Axes, drawn: Mapping[str, Sequence[LayerEstimate]], points: np.ndarray
) -> None:
    """The slope of the farthest memory, and a flat roof for every peak, with what reaches it."""
    device = next(iter(drawn.values()))[0].device
    bandwidth = device.memories[-1].bytes_per_second
    assert bandwidth is not None  # the estimates needed it
    slope = float(bandwidth.value)
    peaks: dict[float, list[str]] = {}
    for precision, of in drawn.items():
        for estimate in of:
            names = peaks.setdefault(float(estimate.macs_per_second), [])
            said = f"{estimate.compute.name} {precision}"
            if said not in names:
                names.append(said)
    left = min(float(points[:, 0].min()), min(peaks) / slope) / 2
    right = max(float(points[:, 0].max()), max(peaks) / slope) * 4
    corner = max(peaks) / slope
    axis.plot([left, corner], [left * slope, max(peaks)], color=_ROOF, linewidth=1.2)
    for peak, names in peaks.items():
        axis.plot([peak / slope, right], [peak, peak], color=_ROOF, linewidth=1.2)
        axis.annotate(
            label(", ".join(names), _LONGEST_LABEL), (right, peak), fontsize=7, ha="right",
            xytext=(-2, 3), textcoords="offset points", parse_math=False,
        )  # fmt: skip
    axis.set_xlim(left, right)
    axis.set_ylim(min(float(points[:, 1].min()), left * slope) / 2, max(peaks) * 3)


def _name_slowest(
    axis: Axes, drawn: Mapping[str, Sequence[LayerEstimate]], points: np.ndarray
) -> None:
    """Names of the layers that take longest, each once, at its slowest precision."""
    flat = [estimate for of in drawn.values() for estimate in of]
    order = sorted(range(len(flat)), key=lambda i: flat[i].latency_us(), reverse=True)
    named: dict[str, int] = {}
    for i in order:
        named.setdefault(flat[i].layer, i)
    chosen = list(named.values())[:_MOST_NAMED]
    lines = [np.stack(line.get_data(), axis=1) for line in axis.lines if line.get_color() == _ROOF]
    roofs = [np.geomspace(line[0], line[-1], _DOTS_OF_A_LINE) for line in lines]
    taken = np.concatenate([points, *roofs])
    name_points(axis, [flat[i].layer for i in chosen], points[chosen], taken)
