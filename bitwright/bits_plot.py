"""The strip below a front: one column per chosen point, one cell per layer, coloured by its bits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from bitwright.plot_base import MOST_LABELS, cost_label, label
from bitwright.problems.front import ParetoFront
from bitwright.text import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

_MOST_NUMBERED, _MOST_LEVEL, _MOST_WRITTEN = 20, 12, 30
_LONGEST_NAME = 32
_ROW, _MARGINS, _TALLEST = 0.15, 1.1, 5.0


def bits_height(chosen: ParetoFront) -> float:
    """How high the strip should be, in inches."""
    layers = len(chosen[0].configuration or ())
    return _MARGINS + (max(_ROW * layers, 0.6) if layers <= MOST_LABELS else _TALLEST)


def draw_bits(figure: Figure, spec: SubplotSpec, chosen: ParetoFront) -> None:
    """Draw the bits of every layer (rows) at every point of a front with configurations (columns).

    One panel where weights and activations always have the same bits, or the activations only one
    width; else a panel for either. A star marks the choices that are a variant of their bits.
    """
    weights, activations = _bits(chosen)
    variants = _variants(chosen)
    if np.array_equal(weights, activations):
        panels = {"bits of weights and activations": weights}
    elif np.ptp(activations) == 0:
        panels = {f"bits of weights (activations {activations.flat[0]})": weights}
    else:
        panels = {"bits of weights": weights, "bits of activations": activations}
    levels = np.unique(np.concatenate(list(panels.values())))
    colours = mpl.colormaps["viridis"](np.linspace(0.0, 1.0, max(len(levels), 2)))[: len(levels)]
    grid = spec.subgridspec(1, len(panels))
    first = None
    for column, (title, bits) in enumerate(panels.items()):
        axis = figure.add_subplot(grid[column], sharey=first)
        first = first or axis
        written = len(bits) <= MOST_LABELS and len(chosen) * len(panels) <= _MOST_WRITTEN
        _draw_cells(axis, np.searchsorted(levels, bits), ListedColormap(colours), levels, written)
        if variants.any():
            _mark_variants(axis, variants != "", written)
        axis.set_title(title, fontsize="medium")
        _name_points(axis, chosen, len(panels))
        if column:
            axis.tick_params(labelleft=False)
    if first is not None:
        _name_layers(first, list(chosen[0].configuration or ()))
    patches = [Patch(color=c, label=f"{bits}") for bits, c in zip(levels, colours, strict=True)]
    # A cell has no room for the rank: the strip names kinds, tables the choice itself.
    kinds = sorted({re.sub(r"-\d+", "-K", name) for name in variants.flat if name})
    if kinds:
        patches.insert(
            0, Patch(visible=False, label=f"* {shortened(', '.join(kinds), _LONGEST_NAME)}")
        )
    axis.legend(
        handles=patches[::-1], title="bits", frameon=False, fontsize="small",
        loc="upper left", bbox_to_anchor=(1.0, 1.0),
    )  # fmt: skip


def _bits(chosen: ParetoFront) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Weight and activation bits, shape (layers, points) each."""
    columns = [list((configuration or {}).values()) for configuration in chosen.configurations]
    weights = np.array([[p.weight_bits for p in column] for column in columns]).T
    return weights, np.array([[p.activation_bits for p in column] for column in columns]).T


def _variants(chosen: ParetoFront) -> NDArray[np.str_]:
    """Variant of every choice, shape (layers, points)."""
    columns = [list((configuration or {}).values()) for configuration in chosen.configurations]
    return np.array([[p.variant for p in column] for column in columns], dtype=np.str_).T


def _mark_variants(axis: Axes, marked: NDArray[np.bool_], written: bool) -> None:
    """A star in the corner of a written cell, in the middle of one without a number."""
    rows, columns = np.nonzero(marked)
    corner = 0.3 if written else 0.0
    axis.plot(
        columns + corner, rows - corner, linestyle="", marker="*", markersize=5,
        markerfacecolor="white", markeredgecolor="black", markeredgewidth=0.4,
    )  # fmt: skip


def _draw_cells(
    axis: Axes,
    cells: NDArray[np.int64],
    colours: ListedColormap,
    levels: NDArray[np.int64],
    written: bool,
) -> None:
    last = max(len(levels) - 1, 1)
    axis.imshow(cells, aspect="auto", cmap=colours, vmin=0, vmax=last, interpolation="nearest")
    rows, columns = cells.shape
    if not written:
        return
    axis.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=0.8)
    axis.tick_params(which="minor", length=0)
    for (row, column), level in np.ndenumerate(cells):
        axis.text(
            column, row, f"{levels[level]}", ha="center", va="center", fontsize=6,
            color="black" if level / last > 0.6 else "white",
        )  # fmt: skip


def _name_points(axis: Axes, chosen: ParetoFront, panels: int) -> None:
    """Number the columns as the points above, with what each costs; upright where it is tight."""
    last, most = len(chosen) - 1, min(len(chosen), _MOST_NUMBERED)
    marked = np.linspace(0, last, most).round().astype(np.int64)
    write = EngFormatter(sep="")
    costs = [write(float(f"{chosen.cost_values[i, 0].item():.4g}")) for i in marked]
    upright = len(marked) * panels > _MOST_LEVEL
    join = ": " if upright else "\n"
    axis.set_xticks(
        marked, [f"{i + 1}{join}{cost}" for i, cost in zip(marked, costs, strict=True)],
        fontsize="x-small", rotation=90 if upright else 0,
    )  # fmt: skip
    axis.set_xlabel(f"point, {cost_label(chosen.costs[0])}", parse_math=False, fontsize="small")


def _name_layers(axis: Axes, layers: list[str]) -> None:
    if len(layers) <= MOST_LABELS:
        names = [shortened(label(name), _LONGEST_NAME) for name in layers]
        axis.set_yticks(range(len(names)), names, fontsize="x-small", parse_math=False)
    else:
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylabel("layer (index)")
