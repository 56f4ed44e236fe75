"""The picture of a Pareto front: loss against costs, what was measured, and the bits of chosen points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, LogLocator, NullFormatter, SymmetricalLogLocator
from numpy.typing import NDArray

from bitwright.bits_plot import bits_height, draw_bits
from bitwright.plot_base import (
    BLUE,
    GREEN,
    GREY,
    MOST_LABELS,
    ORANGE,
    PURPLE,
    cost_label,
    label,
    scale_cost,
)
from bitwright.problems.front import ParetoFront

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 8.0, 4.2
_WIDE = 6.0
_MOST_DECADES = 1e4
_STEPS = 800
_ROOM = (0.03, 0.05)
_MOST_VECTOR_DOTS = 1000


@dataclass(frozen=True)
class MeasuredPoint:
    """A configuration measured for real, for the Pareto plot; `named` ones always bear their name.

    `spread_qat` is the standard deviation of `quality_qat` over seeds.
    """

    name: str
    cost: float
    measured_loss: float
    quality_ptq: float
    quality_qat: float | None
    dominated: bool
    uniform: bool
    named: bool = False
    spread_qat: float = 0.0


def draw_front(
    front: ParetoFront,
    measured: Sequence[MeasuredPoint] = (),
    quality: str = "",
    chosen: ParetoFront | None = None,
) -> Figure:
    """Draw loss against one cost, or two costs against each other with the loss as colour.

    Below a front of one cost stands the quality of what was measured (`quality` names the metric,
    higher is better); below any, the bits of every layer at the `chosen` points, which need
    configurations and bear the same numbers above and below. Loss: lower is better.
    """
    chosen = chosen if chosen is not None and chosen.configurations else None
    heights = [_HEIGHT] + ([_HEIGHT] if measured else [])
    heights += [bits_height(chosen)] if chosen else []
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    axis = figure.add_subplot(grid[0])
    if len(front.costs) == 1:
        _draw_against_one_cost(axis, front, measured, chosen)
    else:
        _draw_two_costs(axis, front, chosen)
    if measured:
        below = figure.add_subplot(grid[1], sharex=axis)
        _draw_quality(below, measured, quality)
        below.set_xlabel(cost_label(front.costs[0]), parse_math=False)
        below.grid(alpha=0.25)
        axis.tick_params(labelbottom=False)
        axis.set_xlabel("")
    axis.grid(alpha=0.25)
    _head(axis, front)
    if chosen:
        draw_bits(figure, grid[len(heights) - 1], chosen)
    return figure


def _head(axis: Axes, front: ParetoFront) -> None:
    costs = " and ".join(label(name) for name in front.costs)
    kind = "exact front" if front.exact else "front"
    axis.set_title(f"{label(front.problem)}: {kind} of loss against {costs}", parse_math=False)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize="small")


def _draw_against_one_cost(
    axis: Axes,
    front: ParetoFront,
    measured: Sequence[MeasuredPoint],
    chosen: ParetoFront | None,
) -> None:
    """The front as steps, which any budget between two points reaches too; its knee; chosen points."""
    costs = front.cost_values[:, 0].astype(float)
    scale_cost(axis, "x", costs)
    _scale_loss(axis, front, measured)
    kept = _seen(axis, costs, front.losses)
    kind = "predicted front" if measured else "front"
    count = f"{len(front):,} point{'s' * (len(front) != 1)}"
    marker = "o" if len(front) <= 2 * MOST_LABELS else ""
    axis.step(
        costs[kept], front.losses[kept], where="post", color=BLUE, linewidth=1.2,
        marker=marker, markersize=3, label=f"{kind}, {count}",
    )  # fmt: skip
    # A front with configurations is some points of another one, and may have another knee.
    if not front.configurations and (knee := front.knee()) is not None:
        axis.scatter(
            costs[knee], front.losses[knee], marker="*", s=150, color=GREEN, zorder=4,
            label="knee: farthest from the chord between the ends, on linear axes",
        )  # fmt: skip
    if chosen:
        _draw_chosen(axis, chosen.cost_values[:, 0].astype(float), chosen.losses)
    if measured:
        _draw_measured_loss(axis, measured)
        axis.margins(y=0.1)
    axis.set_xlabel(cost_label(front.costs[0]), parse_math=False)
    axis.set_ylabel("loss increase (lower is better)")


def _draw_two_costs(axis: Axes, front: ParetoFront, chosen: ParetoFront | None) -> None:
    """The first two costs against each other, the loss as colour."""
    first, second = front.cost_values[:, :2].astype(float).T
    scale_cost(axis, "x", first)
    scale_cost(axis, "y", second)
    points = axis.scatter(
        first, second, c=front.losses, s=36, cmap="viridis", norm=_colour_scale(front.losses),
        rasterized=len(front) > _MOST_VECTOR_DOTS,
    )  # fmt: skip
    if axis.figure is not None:
        bar = axis.figure.colorbar(points, ax=axis)
        bar.set_label("loss increase (lower is better)")
    if chosen:
        x, y = chosen.cost_values[:, :2].astype(float).T
        _draw_chosen(axis, x, y, size=110, fill="none")
    axis.set_xlabel(cost_label(front.costs[0]), parse_math=False)
    axis.set_ylabel(cost_label(front.costs[1]), parse_math=False)


def _draw_chosen(
    axis: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    size: float = 30,
    fill: str = "white",
) -> None:
    """Mark the chosen points, with their numbers where there is room for them."""
    axis.scatter(x, y, s=size, facecolors=fill, edgecolors=ORANGE, linewidths=1.4, zorder=3)
    places = (axis.transScale + axis.transLimits).transform(np.column_stack([x, y]))
    last = np.array([-1.0, -1.0])
    for number, place in enumerate(places):
        if np.any(np.abs(place - last) > _ROOM):
            last = place
            axis.annotate(
                f"{number + 1}", (x[number], y[number]), xytext=(6, 6), fontsize=8,
                textcoords="offset points", color=ORANGE,
            )  # fmt: skip


def _seen(axis: Axes, costs: NDArray[np.float64], losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the points that a picture can tell apart, so that a file of many stays small."""
    if len(costs) <= _STEPS:
        return np.arange(len(costs))
    scaled = axis.transScale.transform(np.column_stack([costs, losses]))
    low, high = scaled.min(axis=0), scaled.max(axis=0)
    cells = np.floor((scaled - low) / np.where(high > low, high - low, 1.0) * _STEPS)
    return np.append(0, np.flatnonzero(np.any(np.diff(cells, axis=0) != 0, axis=1)) + 1)


def _scale_loss(axis: Axes, front: ParetoFront, measured: Sequence[MeasuredPoint]) -> None:
    """Spread losses near zero where the loss has fallen far halfway through the costs."""
    shown = np.concatenate([front.losses, [p.measured_loss for p in measured]])
    least, largest = np.nanmin(shown, initial=np.inf), np.abs(front.losses).max(initial=0.0)
    costs = front.cost_values[:, 0].astype(float)
    halfway = np.searchsorted(costs, costs[[0, -1]].mean(), side="right") - 1 if len(costs) else 0
    if not largest or abs(front.losses[halfway]) >= largest / _WIDE:
        return
    ticks: Locator
    if least * _MOST_DECADES >= largest:
        axis.set_yscale("log")
        ticks = LogLocator(subs=(1.0, 2.0, 5.0))
        axis.yaxis.set_minor_formatter(NullFormatter())
    else:
        threshold = 10.0 ** math.ceil(math.log10(largest / 100))
        axis.set_yscale("symlog", linthresh=threshold)
        ticks = SymmetricalLogLocator(base=10, linthresh=threshold, subs=(1.0, 2.0, 5.0))
    axis.yaxis.set_major_locator(ticks)
    axis.yaxis.set_major_formatter("{x:g}")


def _colour_scale(losses: NDArray[np.float64]) -> Normalize:
    """A logarithmic scale where positive losses span more than a decade."""
    if len(losses) and 0 < 10 * losses.min() < losses.max():
        return LogNorm()
    return Normalize()


def _draw_measured_loss(axis: Axes, measured: Sequence[MeasuredPoint]) -> None:
    for meaning, colour, marker, uniform in (
        ("measured, allocated", ORANGE, "D", False),
        ("measured, uniform", PURPLE, "s", True),
    ):
        chosen = [p for p in measured if p.uniform is uniform]
        if chosen:
            axis.scatter(
                [p.cost for p in chosen], [p.measured_loss for p in chosen],
                color=colour, marker=marker, s=28, zorder=3, label=meaning,
            )  # fmt: skip


def _draw_quality(axis: Axes, measured: Sequence[MeasuredPoint], quality: str) -> None:
    """Quality after PTQ and QAT; what lies far below the trained points stands as a triangle at the foot."""
    floor = _floor(measured)
    for uniform, marker, kind in ((False, "D", "allocated"), (True, "s", "uniform")):
        chosen = [p for p in measured if p.uniform is uniform]
        shown = [p for p in chosen if p.quality_ptq >= floor]
        trained = [p for p in chosen if p.quality_qat is not None]
        if shown:
            axis.scatter(
                [p.cost for p in shown], [p.quality_ptq for p in shown], facecolors="none",
                edgecolors=GREY, marker=marker, s=28, label=f"{kind}, PTQ",
            )  # fmt: skip
        if trained:
            axis.errorbar(
                [p.cost for p in trained], [p.quality_qat or 0.0 for p in trained],
                yerr=[p.spread_qat for p in trained], color=GREEN, marker=marker, markersize=5,
                linestyle="none", capsize=2, zorder=3, label=f"{kind}, QAT",
            )  # fmt: skip
    below = [p for p in measured if p.quality_ptq < floor]
    if below:
        axis.scatter(
            [p.cost for p in below], [floor] * len(below), color=GREY, marker="v", s=20,
            label=f"PTQ below, down to {min(p.quality_ptq for p in below):.2g}",
        )  # fmt: skip
    axis.margins(y=0.15)
    _name_points(axis, measured)
    axis.set_ylabel(f"{label(quality)} on test (higher is better)", parse_math=False)
    axis.legend(frameon=False, fontsize="small", loc="lower right")


def _floor(measured: Sequence[MeasuredPoint]) -> float:
    """The least quality that is drawn to scale: three times as far down as the best points spread."""
    best = [p.quality_ptq if p.quality_qat is None else p.quality_qat for p in measured]
    spread = max(max(best) - min(best), 0.01 * abs(max(best)))
    return min(best) - 3 * spread


def _name_points(axis: Axes, measured: Sequence[MeasuredPoint]) -> None:
    """Name points above and below in turn, so that neighbours do not collide; uniform ones in grey."""
    named = [p for p in measured if p.named or p.uniform or not p.dominated]
    for number, point in enumerate(sorted(named, key=lambda p: (p.cost, p.name))):
        best = point.quality_ptq if point.quality_qat is None else point.quality_qat
        axis.annotate(
            label(point.name.removeprefix("uniform ")), (point.cost, best),
            xytext=(0, (16, -22, 30, -36)[number % 4]), ha="center", textcoords="offset points",
            fontsize=7, color=GREY if point.uniform else "black", parse_math=False,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5},
        )  # fmt: skip
