"""The picture of verified points: predicted against measured loss, and quality against cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, SymmetricalLogLocator
from numpy.typing import NDArray

from bitwright.plot_base import BLUE, GREY, ORANGE, cost_label, label, lay_out, scale_cost
from bitwright.plot_labels import name_points
from bitwright.problems.verified import MeasuredQuality, TrainedQuality, Verified, VerifiedPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _LOSSES_HEIGHT, _QUALITY_HEIGHT, _LEGEND_HEIGHT = 8.0, 4.2, 3.6, 0.6
_MARKERS = {"solution": "D", "front": "o", "uniform": "s"}
_WIDE = 30.0


def draw_verified(verified: Verified, name: str) -> Figure:
    """Draw predicted against measured loss and, below, quality before and after QAT against cost.

    Quality stands there overall and, where such objects occur, over the critical classes. Dominated
    points are hollow; bars are the spread over seeds. Loss: lower is better; quality: higher is.
    """
    sides = [_overall(verified)]
    if verified.float_quality.critical is not None:
        sides.append(_critical(verified))
    heights = [_LOSSES_HEIGHT, *[_QUALITY_HEIGHT] * len(sides)]
    figure = Figure(figsize=(_WIDTH, sum(heights) + _LEGEND_HEIGHT), layout="constrained")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    losses = figure.add_subplot(grid[0])
    measured = [p for p in verified.points if _measured_loss(verified, p) is not None]
    _draw_losses(losses, verified, measured)
    losses.set_title(_caption(verified, name), parse_math=False, fontsize="medium")
    axes: list[Axes] = []
    for row, side in enumerate(sides, start=1):
        axes.append(figure.add_subplot(grid[row], sharex=axes[0] if axes else None))
        _draw_quality(axes[-1], verified, side)
    axes[-1].set_xlabel(cost_label(verified.cost), parse_math=False)
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    _explain(figure, verified)
    # Names are placed last, when the layout says how much room there is.
    lay_out(figure)
    _name(losses, measured, np.array([_of_losses(verified, p) for p in measured]), [])
    for axis, side in zip(axes, sides, strict=True):
        floor = _floor(verified, side)
        places = [(_cost(verified, p), max(side.best(p), floor)) for p in verified.points]
        seen = [(_cost(verified, p), max(side.before(p), floor)) for p in verified.points]
        bars = [
            (_cost(verified, p), side.after(p) + part * side.spread(p))
            for p in verified.points
            for part in (-1.0, -0.5, 0.5, 1.0)
        ]
        _name(axis, verified.points, np.array(places), [*seen, *bars])
    return figure


@dataclass(frozen=True)
class _Side:
    """One quality of every point; NaN where a point has none."""

    title: str
    float_value: float
    before: Callable[[VerifiedPoint], float]
    after: Callable[[VerifiedPoint], float]
    spread: Callable[[VerifiedPoint], float]

    def best(self, point: VerifiedPoint) -> float:
        """After QAT where that was done, else after PTQ."""
        after = self.after(point)
        return self.before(point) if math.isnan(after) else after


def _overall(verified: Verified) -> _Side:
    metric = verified.main_metric
    return _side(
        label(metric),
        verified.float_quality,
        lambda quality: quality.metrics[metric],
        lambda quality: (quality.metrics[metric].mean, quality.metrics[metric].spread),
    )


def _critical(verified: Verified) -> _Side:
    names = ", ".join(verified.critical_classes)
    return _side(
        label(f"critical classes ({names})", 40),
        verified.float_quality,
        lambda quality: quality.critical,
        lambda quality: (quality.critical.mean, quality.critical.spread),
    )


def _side(
    title: str,
    base: MeasuredQuality,
    before: Callable[[MeasuredQuality], float | None],
    after: Callable[[TrainedQuality], tuple[float | None, float | None]],
) -> _Side:
    return _Side(
        title,
        _or_nan(before(base)),
        before=lambda point: _or_nan(before(point.ptq)),
        after=lambda point: math.nan if point.qat is None else _or_nan(after(point.qat)[0]),
        spread=lambda point: 0.0 if point.qat is None else after(point.qat)[1] or 0.0,
    )


def rank_correlation(verified: Verified) -> float | None:
    """Spearman's rank correlation of predicted and measured loss; None below three points or steps."""
    from scipy.stats import spearmanr

    pairs = [
        _of_losses(verified, p)
        for p in verified.points
        if _measured_loss(verified, p) is not None
    ]  # fmt: skip
    if len(pairs) < 3 or min(len(set(values)) for values in zip(*pairs, strict=True)) < 2:
        return None
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def _caption(verified: Verified, name: str) -> str:
    caption = f"{label(name)}: growth of the loss, predicted and measured"
    correlation = rank_correlation(verified)
    return caption if correlation is None else f"{caption} (rank correlation {correlation:.2f})"


def _measured_loss(verified: Verified, point: VerifiedPoint) -> float | None:
    return point.measured_loss[verified.loss_reading]


def _of_losses(verified: Verified, point: VerifiedPoint) -> tuple[float, float]:
    return point.predicted_loss, _or_nan(_measured_loss(verified, point))


def _cost(verified: Verified, point: VerifiedPoint) -> float:
    return float(point.costs[verified.cost])


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _draw_losses(axis: Axes, verified: Verified, points: Sequence[VerifiedPoint]) -> None:
    pairs = np.array([_of_losses(verified, p) for p in points]).reshape(-1, 2)
    _mark(axis, points, pairs, ORANGE)
    if len(pairs):
        _scale_both(axis, pairs)
        ends = axis.get_xlim()
        axis.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
        axis.set(xlim=ends, ylim=ends)
    axis.grid(alpha=0.25)
    axis.set_xlabel("predicted: sum over layers (lower is better)")
    axis.set_ylabel(f"measured after PTQ, {verified.loss_split} split")


def _scale_both(axis: Axes, pairs: NDArray[np.float64]) -> None:
    """The same scale and limits both ways, logarithmic where losses span much."""
    least, largest = float(pairs.min()), float(pairs.max())
    typical = float(np.median(np.abs(pairs)))
    if least > 0 and largest > _WIDE * least:
        axis.set(xscale="log", yscale="log")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            side.set_major_formatter("{x:g}")
            side.set_minor_formatter(NullFormatter())
        limits = (least / 1.4, largest * 1.4)
    elif typical > 0 and largest > _WIDE / 3 * typical:
        threshold = 10.0 ** math.floor(math.log10(typical))
        axis.set_xscale("symlog", linthresh=threshold)
        axis.set_yscale("symlog", linthresh=threshold)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(SymmetricalLogLocator(base=10, linthresh=threshold))
            side.set_major_formatter("{x:g}")
        limits = (min(1.5 * least, 0.0) - 0.2 * threshold, largest * 1.4)
    else:
        room = 0.08 * (largest - least) or 0.1 * abs(largest) or 1.0
        limits = (least - room, largest + room)
        axis.xaxis.set_major_locator(MaxNLocator(8))
        axis.yaxis.set_major_locator(MaxNLocator(8))
    axis.set(xlim=limits, ylim=limits)


def _mark(
    axis: Axes, points: Sequence[VerifiedPoint], places: NDArray[np.float64], colour: str
) -> None:
    """Markers of all points at their places, shape (N, 2), by kind; dominated ones hollow."""
    kinds = np.array([point.kind for point in points])
    hollow = np.array([point.dominated for point in points], dtype=bool)
    for (kind, marker), empty in itertools.product(_MARKERS.items(), (False, True)):
        chosen = places[(kinds == kind) & (hollow == empty)] if len(places) else places
        if len(chosen):
            axis.scatter(
                chosen[:, 0], chosen[:, 1], marker=marker, s=30, edgecolors=colour, linewidths=1.2, zorder=3,
                facecolors="white" if empty else colour,
            )  # fmt: skip


def _draw_quality(axis: Axes, verified: Verified, side: _Side) -> None:
    """Quality of every point; what lies far below the best stands as a triangle at the foot."""
    points = verified.points
    costs = np.array([_cost(verified, p) for p in points], dtype=np.float64)
    before = np.array([side.before(p) for p in points], dtype=np.float64)
    after = np.array([side.after(p) for p in points], dtype=np.float64)
    floor = _floor(verified, side)
    scale_cost(axis, "x", costs)
    axis.axhline(side.float_value, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    trained, seen = ~np.isnan(after), before >= floor
    if trained.any():
        start = np.fmax(before, floor)[trained]
        axis.vlines(costs[trained], start, after[trained], color=GREY, linewidth=0.6, alpha=0.6, zorder=1)  # fmt: skip
        spreads = np.array([side.spread(p) for p in points])[trained]
        axis.errorbar(
            costs[trained], after[trained], yerr=spreads, color=BLUE, capsize=2.5, zorder=2,
            linestyle="none", linewidth=1.0,
        )  # fmt: skip
    for values, chosen, colour in ((after, trained, BLUE), (before, seen, ORANGE)):
        kept = [p for p, wanted in zip(points, chosen, strict=True) if wanted]
        _mark(axis, kept, np.column_stack([costs, values])[chosen], colour)
    below = costs[before < floor]
    axis.scatter(below, np.full(len(below), floor), marker="v", s=22, color=ORANGE, zorder=3)
    axis.margins(x=0.08, y=0.16)
    axis.grid(alpha=0.25)
    axis.set_ylabel(
        f"{side.title}\n{verified.quality_split} split, higher is better",
        parse_math=False, fontsize="small",
    )  # fmt: skip


def _floor(verified: Verified, side: _Side) -> float:
    """The least quality that is drawn to scale: three times as far down as the best points spread."""
    best = [b for p in verified.points if not math.isnan(b := side.best(p))]
    if not best:
        return -math.inf
    top = max(*best, side.float_value) if not math.isnan(side.float_value) else max(best)
    spread = max(top - min(best), 0.01 * abs(top))
    return min(best) - 2 * spread


def _name(
    axis: Axes,
    points: Sequence[VerifiedPoint],
    places: NDArray[np.float64],
    seen: Sequence[tuple[float, float]],
) -> None:
    """Name points where there is room: solutions first, then what no other beats, then uniform ones."""
    order = sorted(
        (i for i in range(len(points)) if np.isfinite(places[i]).all()),
        key=lambda i: (points[i].kind != "solution", points[i].dominated, points[i].kind, i),
    )
    markers = [p for p in (*map(tuple, places), *seen) if np.isfinite(p).all()]
    names = [points[i].name.removeprefix("uniform ") for i in order]
    name_points(axis, names, places[order], np.array(markers))


def _explain(figure: Figure, verified: Verified) -> None:
    """One legend for all panels: shapes, colours, what is hollow, what is a triangle."""

    def sign(text: str, marker: str, colour: str, face: str | None = None) -> Line2D:
        return Line2D(
            [], [], linestyle="none", marker=marker, color=colour, markersize=5.5,
            markerfacecolor=face or colour, label=text,
        )  # fmt: skip

    words = {"solution": "solution", "front": "point of the front", "uniform": "uniform bits"}
    kinds = {point.kind for point in verified.points}
    signs = [sign(words[k], m, GREY) for k, m in _MARKERS.items() if k in kinds]
    signs += [sign("after PTQ", "o", ORANGE)]
    if any(point.qat for point in verified.points):
        seeds = len(verified.seeds)
        bars = f" (mean of {seeds} seeds, bars: spread)" if seeds > 1 else ""
        signs.append(sign(f"after QAT{bars}", "o", BLUE))
    if any(point.dominated for point in verified.points):
        signs.append(sign("hollow: dominated", "o", GREY, "white"))
    signs += [
        sign("PTQ below the axis", "v", ORANGE),
        Line2D([], [], color=GREY, linewidth=0.8, linestyle="--", label="float; predicted = measured"),
    ]  # fmt: skip
    figure.legend(
        handles=signs, loc="outside lower center", ncols=4, frameon=False, fontsize="small"
    )
