"""Pictures: the Pareto front, verified points, the significance map and the confusion matrix, as matplotlib figures.

Every function returns a new figure and never shows it; `save` writes it, as PNG and SVG for a run.
Colours are those of Okabe and Ito (2008) and viridis, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bitwright.comparison_plot import draw_comparison
from bitwright.front_plot import MeasuredPoint, draw_front
from bitwright.plot_base import MOST_LABELS, ORANGE, label, save, suffix_of
from bitwright.problems.scores import SignificanceTable
from bitwright.verified_plot import draw_verified

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "MeasuredPoint",
    "draw_comparison",
    "draw_confusion",
    "draw_front",
    "draw_significance",
    "draw_verified",
    "save",
    "suffix_of",
]


def draw_significance(tables: Mapping[str, SignificanceTable]) -> Figure:
    """Draw components by precisions, one panel per table (class group), on one colour scale."""
    first = next(iter(tables.values()))
    named = len(first.components) <= 4 * MOST_LABELS
    height = 1.6 + 0.28 * (len(first.components) if named else MOST_LABELS)
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
        axis.set_title(label(name), fontsize="medium", parse_math=False)
        axis.set_xticks(
            range(len(table.precisions)),
            [p.label for p in table.precisions],
            rotation=45,
            ha="right",
        )
        _write_cells(axis, table.scores, norm)
    if named:
        labels = [label(name) for name in first.components]
        axes[0].set_yticks(range(len(labels)), labels, fontsize="small", parse_math=False)
    else:
        axes[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(image, ax=list(axes), label="loss increase when it alone is quantized")
    return figure


def _write_cells(axis: Axes, values: NDArray[Any], norm: Normalize) -> None:
    if values.size > 40 * MOST_LABELS:
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
    side = 2.2 + 0.5 * min(len(names), MOST_LABELS)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axis = figure.subplots()
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    rates = confusion / totals
    norm = PowerNorm(0.5, vmin=0.0, vmax=1.0)
    image = axis.imshow(rates, cmap="viridis", norm=norm)
    cells = np.ndenumerate(confusion) if len(names) <= MOST_LABELS else ()
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
    labels = [label(name) for name in names]
    named = range(0, len(names), math.ceil(len(names) / MOST_LABELS))
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

    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=2)
