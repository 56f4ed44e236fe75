"""The picture of what layers cost: lengths are costs, whatever the names and however many."""

from __future__ import annotations

import pytest

from bitwright.layer_costs_plot import Bar, draw_layer_costs
from bitwright.plot_base import MOST_LABELS

from .pictures import ODD, check_written


def costs(layers, labels=("w4a8", "w8a8")):
    """Two costs; the bar of layer i at label j is (i + 1) (j + 1), with a spread in the second cost."""
    plain = {
        name: {p: Bar((i + 1) * (j + 1)) for j, p in enumerate(labels)}
        for i, name in enumerate(layers)
    }
    spread = {
        name: {p: Bar(bar.value, 0.25) for p, bar in of.items()} for name, of in plain.items()
    }
    return {"size_bits": plain, "latency_us": spread}


def test_bars_are_as_long_as_costs():
    """Every layer and precision has a bar of its cost that begins at zero, in the order of layers."""
    figure = draw_layer_costs("n", costs(["a", "b", "c"]))
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names == ["a", "b", "c"]
    for axis in figure.axes:
        bars = sorted(
            (round(bar.get_y() + bar.get_height() / 2), bar.get_width()) for bar in axis.patches
        )
        assert bars == [(0, 1), (0, 2), (1, 2), (1, 4), (2, 3), (2, 6)]
        assert {bar.get_x() for bar in axis.patches} == {0}
        assert axis.get_xlim()[0] == 0
    assert [axis.get_xlabel() for axis in figure.axes] == ["size (bits)", "latency (µs)"]


def test_spreads_are_drawn_where_they_are_known():
    """The second cost has a line at the end of each bar, as long as the spread on both sides."""
    without, with_spread = draw_layer_costs("n", costs(["a", "b"])).axes
    assert not without.collections
    ends = [
        (segment[0][0], segment[1][0])
        for lines in with_spread.collections
        for segment in lines.get_segments()
    ]
    assert sorted(ends) == [(0.75, 1.25), (1.75, 2.25), (1.75, 2.25), (3.75, 4.25)]


def test_layers_may_have_other_precisions():
    """A pinned layer has the one bar that it can have, and every precision stands in the legend."""
    table = {"bitops": {"a": {"w4a8": Bar(1), "w8a8": Bar(2)}, "b": {"w32a32": Bar(7)}}}
    (axis,) = draw_layer_costs("n", table).axes
    assert len(axis.patches) == 3
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["w4a8", "w8a8", "w32a32"]


@pytest.mark.parametrize("count", [MOST_LABELS, MOST_LABELS + 1, 400])
def test_many_layers_are_dots(count):
    """Above what can be named, a dot for each precision over the layers' indices."""
    axis, _ = draw_layer_costs("n", costs([f"layer{i}" for i in range(count)])).axes
    if count > MOST_LABELS:
        assert [list(line.get_xdata())[:2] for line in axis.lines] == [[1, 2], [2, 4]]
        assert not axis.patches
    else:
        assert len(axis.patches) == 2 * count


def test_odd_names_are_drawn(tmp_path):
    """Names with mathematics, markup, control characters and no end do no harm."""
    check_written(draw_layer_costs(ODD[0], costs(ODD, labels=("w4a8", ODD[1]))), tmp_path)
