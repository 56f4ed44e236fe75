"""Pictures: the Pareto front, the significance map and the confusion matrix, as matplotlib figures.

Every function returns a new figure and never shows it; `save` writes it, as PNG and SVG for a run.
Colours are those of Okabe and Ito (2008) and viridis, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats.atomic import write_atomic_with
from bitwright.problems.front import ParetoFront
from bitwright.problems.scores import SignificanceTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREEN, _PURPLE, _GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
_FORMATS = (".png", ".svg", ".pdf")
_MOST_LABELS = 60
_WIDE = 6.0
_LONGEST_LABEL = 60


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


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure, atomically; raises `InputError` for an unknown ending.

    The same figure gives the same bytes: SVG names are salted with a fixed word, no date is kept.
    """
    suffix = suffix_of(path)
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {"Software": None}}[
        suffix
    ]
    with (
        mpl.rc_context({"svg.hashsalt": "bitwright", "svg.fonttype": "path"}),
        warnings.catch_warnings(),
    ):
        # A name may hold what the font lacks, such as an emoji; it is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph")
        if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # laid out again at every save it would creep
        write_atomic_with(
            path,
            lambda stream: figure.savefig(stream, format=suffix[1:], dpi=150, metadata=metadata),
        )


def suffix_of(path: str | Path) -> str:
    """The ending of a plot file; raises `InputError` for one that is not drawn."""
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(
            f"{path}: a plot file ends in one of {', '.join(_FORMATS)}; {nearest(suffix, _FORMATS)}"
        )
    return suffix


def _label(name: str) -> str:
    """A name as it is drawn: on one line, without what an SVG cannot hold, not without end."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return shown if len(shown) <= _LONGEST_LABEL else f"{shown[: _LONGEST_LABEL - 1]}…"


def draw_front(
    front: ParetoFront, measured: Sequence[MeasuredPoint] = (), quality: str = ""
) -> Figure:
    """Draw loss against the first cost, predicted and measured; below it the quality, if measured.

    `quality` names the metric of the measured points. Loss: lower is better; quality: higher.
    """
    rows = 2 if measured else 1
    figure = Figure(figsize=(8, 4.2 * rows), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(rows, 1, sharex=True)))
    _draw_predicted(axes[0], front)
    if measured:
        _draw_measured_loss(axes[0], measured)
        axes[0].margins(y=0.1)
        _draw_quality(axes[1], measured, quality)
    axes[0].set_ylabel("loss increase (lower is better)")
    axes[0].set_title(
        f"{_label(front.problem)}: {'exact ' if front.exact else ''}front of loss "
        f"against {_label(front.costs[0])}",
        parse_math=False,
    )
    axes[0].legend(frameon=False, fontsize="small")
    axes[-1].set_xlabel(_label(front.costs[0]), parse_math=False)
    _scale(axes, front)
    for axis in axes:
        axis.grid(alpha=0.25)
    return figure


def _scale(axes: Sequence[Axes], front: ParetoFront) -> None:
    """Spread what would crowd at the low end: costs over a wide range, and losses near zero."""
    costs, losses = front.cost_values[:, 0].astype(float), front.losses
    if len(costs) and costs.min() > 0 and costs.max() > _WIDE * costs.min():
        axes[-1].set_xscale("log")
        axes[-1].xaxis.set_minor_formatter(EngFormatter())
    axes[-1].xaxis.set_major_formatter(EngFormatter())
    axes[-1].tick_params(axis="x", which="both", labelsize="small", labelrotation=30)
    largest = float(np.abs(losses).max(initial=0.0))
    if largest > 0 and np.median(np.abs(losses)) < largest / _WIDE:
        axes[0].set_yscale("symlog", linthresh=10.0 ** math.ceil(math.log10(largest / 100)))


def _draw_predicted(axis: Axes, front: ParetoFront) -> None:
    costs = front.cost_values[:, 0].astype(float)
    if len(front.costs) > 1:
        second = front.cost_values[:, 1].astype(float)
        points = axis.scatter(
            costs, front.losses, c=second, s=14, cmap="viridis", label="predicted"
        )
        if axis.figure is not None:
            bar = axis.figure.colorbar(points, ax=axis)
            bar.set_label(_label(front.costs[1]), parse_math=False)
    else:
        marker = "o" if len(front) <= 2 * _MOST_LABELS else ""
        axis.step(
            costs, front.losses, where="post", color=_BLUE, linewidth=1.2,
            marker=marker, markersize=3, label="predicted front",
        )  # fmt: skip


def _draw_measured_loss(axis: Axes, measured: Sequence[MeasuredPoint]) -> None:
    for label, colour, marker, uniform in (
        ("measured, allocated", _ORANGE, "D", False),
        ("measured, uniform", _PURPLE, "s", True),
    ):
        chosen = [p for p in measured if p.uniform is uniform]
        if chosen:
            axis.scatter(
                [p.cost for p in chosen], [p.measured_loss for p in chosen],
                color=colour, marker=marker, s=28, zorder=3, label=label,
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
                edgecolors=_GREY, marker=marker, s=28, label=f"{kind}, PTQ",
            )  # fmt: skip
        if trained:
            axis.errorbar(
                [p.cost for p in trained], [p.quality_qat or 0.0 for p in trained],
                yerr=[p.spread_qat for p in trained], color=_GREEN, marker=marker, markersize=5,
                linestyle="none", capsize=2, zorder=3, label=f"{kind}, QAT",
            )  # fmt: skip
    below = [p for p in measured if p.quality_ptq < floor]
    if below:
        axis.scatter(
            [p.cost for p in below], [floor] * len(below), color=_GREY, marker="v", s=20,
            label=f"PTQ below, down to {min(p.quality_ptq for p in below):.2g}",
        )  # fmt: skip
    axis.margins(y=0.15)
    _name_points(axis, measured)
    axis.set_ylabel(f"{_label(quality)} on test (higher is better)", parse_math=False)
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
            _label(point.name.removeprefix("uniform ")), (point.cost, best),
            xytext=(0, (16, -22, 30, -36)[number % 4]), ha="center", textcoords="offset points",
            fontsize=7, color=_GREY if point.uniform else "black", parse_math=False,
            arrowprops={"arrowstyle": "-", "color": _GREY, "linewidth": 0.5},
        )  # fmt: skip


def draw_significance(tables: Mapping[str, SignificanceTable]) -> Figure:
    """Draw components by precisions, one panel per table (class group), on one colour scale."""
    first = next(iter(tables.values()))
    named = len(first.components) <= 4 * _MOST_LABELS
    height = 1.6 + 0.28 * (len(first.components) if named else _MOST_LABELS)
    figure = Figure(
        figsize=(2.6 + max(3.2, 0.62 * len(first.precisions)) * len(tables), height),
        layout="constrained",
    )
    axes = np.atleast_1d(figure.subplots(1, len(tables), sharey=True))
    highest = max(float(np.nanmax(t.scores, initial=0.0)) for t in tables.values())
    norm: Normalize = PowerNorm(0.4, vmin=0.0, vmax=highest or 1.0, clip=True)
    image: Any = None
    for axis, (name, table) in zip(axes, tables.items(), strict=True):
        image = axis.imshow(
            np.ma.masked_invalid(table.scores), aspect="auto", cmap="viridis", norm=norm,
            interpolation="nearest",  # cells of many components are not blurred into each other
        )  # fmt: skip
        axis.set_title(_label(name), fontsize="medium", parse_math=False)
        axis.set_xticks(
            range(len(table.precisions)),
            [p.label for p in table.precisions],
            rotation=45,
            ha="right",
        )
        _write_cells(axis, table.scores, norm)
    if named:
        labels = [_label(name) for name in first.components]
        axes[0].set_yticks(range(len(labels)), labels, fontsize="small", parse_math=False)
    else:
        axes[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(image, ax=list(axes), label="loss increase when it alone is quantized")
    return figure


def _write_cells(axis: Axes, values: NDArray[Any], norm: Normalize) -> None:
    if values.size > 40 * _MOST_LABELS:
        return
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "black" if norm(value) > 0.6 else "white"
            axis.text(
                column, row, f"{value:.2g}", ha="center", va="center", fontsize=6.5, color=colour
            )


def draw_confusion(
    confusion: NDArray[np.int64], classes: Sequence[str], critical: Sequence[tuple[str, str, float]]
) -> Figure:
    """Draw counts of true (rows) against predicted classes, with the critical pairs framed."""
    names = [*classes, "background"][: len(confusion)]
    side = 2.2 + 0.5 * min(len(names), _MOST_LABELS)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axis = figure.subplots()
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    rates = confusion / totals
    norm = PowerNorm(0.5, vmin=0.0, vmax=1.0)
    image = axis.imshow(rates, cmap="viridis", norm=norm)
    cells = np.ndenumerate(confusion) if len(names) <= _MOST_LABELS else ()
    for (row, column), count in cells:
        if count:
            colour = "black" if norm(rates[row, column]) > 0.6 else "white"
            axis.text(
                column, row, f"{count}", ha="center", va="center", color=colour, fontsize="small"
            )
    index = {name: i for i, name in enumerate(names)}
    for a, b, _ in critical:
        for row, column in ((index[a], index[b]), (index[b], index[a])):
            axis.add_patch(_frame(row, column))
    labels = [_label(name) for name in names]
    named = range(0, len(names), math.ceil(len(names) / _MOST_LABELS))
    shown = [labels[i] for i in named]
    axis.set_xticks(named, shown, rotation=45, ha="right", parse_math=False)
    axis.set_yticks(named, shown, parse_math=False)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    title = "confusion of the float network"
    axis.set_title(f"{title}; critical pairs framed" if critical else title, fontsize="medium")
    figure.colorbar(image, ax=axis, label="share of the true class")
    return figure


def _frame(row: int, column: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=_ORANGE, linewidth=2)
