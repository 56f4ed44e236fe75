"""What every layer costs at several precisions: one panel of bars for each cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator

from bitwright.plot_base import GREY, MOST_LABELS, cost_label, label
from bitwright.text import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BARS, _LONGEST_NAME = 640, 32
_BAR, _GAP, _MARGINS, _TALLEST = 0.11, 0.09, 1.3, 14.0
_PANEL, _NAMES, _LEGEND = 3.4, 2.0, 1.3
_PLAIN_BELOW = 1e4


class Bar(NamedTuple):
    """A cost and how far measurements of it differ, 0 where that is not known."""

    value: float
    spread: float = 0.0


LayerBars = Mapping[str, Mapping[str, Bar]]
"""Bars of every layer by the label of a precision."""


def draw_layer_costs(name: str, costs: Mapping[str, LayerBars]) -> Figure:
    """Draw every cost in a panel of its own: layers from top to bottom, a bar for each precision.

    Bars begin at zero, so that lengths compare; a thin line at their end is the spread. Where there
    are too many for bars, every cost is a dot over the index of its layer.
    """
    layers = list(dict.fromkeys(layer for bars in costs.values() for layer in bars))
    labels = list(dict.fromkeys(p for bars in costs.values() for of in bars.values() for p in of))
    as_bars = len(layers) <= MOST_LABELS and len(layers) * len(labels) <= _MOST_BARS
    row = _BAR * len(labels) + _GAP
    height = _MARGINS + (max(len(layers) * row, 1.2) if as_bars else 5.0)
    figure = Figure(
        figsize=(_NAMES + _PANEL * len(costs) + _LEGEND, min(height, _TALLEST)),
        layout="constrained",
    )
    axes = np.atleast_1d(figure.subplots(1, max(len(costs), 1), sharey=True))
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.92, max(len(labels), 2)))
    colours = dict(zip(labels, shades, strict=False))
    for axis, (cost, bars) in zip(axes, costs.items(), strict=False):
        for number, precision in enumerate(labels):
            found = [bars.get(layer, {}).get(precision) for layer in layers]
            if as_bars:
                shift = (number - (len(labels) - 1) / 2) * _BAR / row
                _draw_bars(axis, found, shift, _BAR / row, colours[precision])
            else:
                values = [np.nan if bar is None else bar.value for bar in found]
                axis.plot(
                    values, range(len(values)), linestyle="", marker=".", markersize=4,
                    color=colours[precision],
                )  # fmt: skip
        _finish(axis, cost)
    if as_bars:
        names = [shortened(label(layer), _LONGEST_NAME) for layer in layers]
        axes[0].set_yticks(range(len(layers)), names, fontsize="small", parse_math=False)
    else:
        axes[0].yaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].set_ylabel("layer (index)")
    axes[0].set_ylim(len(layers) - 0.4, -0.6)
    patches = [Patch(color=colours[p], label=label(p, _LONGEST_NAME)) for p in labels]
    axes[-1].legend(
        handles=patches, title="bits", frameon=False, fontsize="small",
        loc="upper left", bbox_to_anchor=(1.0, 1.0),
    )  # fmt: skip
    figure.suptitle(f"{label(name)}: what each layer costs", fontsize="medium", parse_math=False)
    return figure


def _draw_bars(
    axis: Axes, found: Sequence[Bar | None], shift: float, height: float, colour: object
) -> None:
    rows = np.array([i for i, bar in enumerate(found) if bar is not None])
    if not len(rows):
        return
    bars = [bar for bar in found if bar is not None]
    axis.barh(rows + shift, [b.value for b in bars], height=height, color=colour)
    if spread := [(row, bar) for row, bar in zip(rows, bars, strict=True) if bar.spread]:
        axis.errorbar(
            [bar.value for _, bar in spread], [row + shift for row, _ in spread],
            xerr=[bar.spread for _, bar in spread], linestyle="", color=GREY, linewidth=0.8,
        )  # fmt: skip


def _finish(axis: Axes, cost: str) -> None:
    axis.set_xlabel(cost_label(cost), parse_math=False)
    axis.set_xlim(left=0)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    if axis.get_xlim()[1] >= _PLAIN_BELOW:
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
