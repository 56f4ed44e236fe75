"""The picture of a roofline: roofs are the device's, points lie where the estimates say."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.cost_models.devices import load_device
from bitwright.cost_models.roofline import estimate
from bitwright.problems import LayerDescription, Precision
from bitwright.roofline_plot import draw_roofline

from .cost_models.resnet18 import resnet18
from .cost_models.roofline.devices import array, memory
from .pictures import ODD, check_written

W4, W8 = Precision(4, 4), Precision(8, 8)


def drawn(device, layers, precisions=(W4, W8)):
    """The axis, and the places of all points by label."""
    estimates = {p.label: [estimate(device, layer, p) for layer in layers] for p in precisions}
    figure = draw_roofline("n", estimates)
    (axis,) = figure.axes
    points = {
        line.get_label(): np.column_stack(line.get_data())
        for line in axis.lines
        if line.get_linestyle() == "None"
    }
    return figure, axis, points


def test_roofs_are_the_data_sheets():
    """The slope ends where 320 GB/s reach 130 T, flat roofs lie at 130 T (int4) and 65 T (int8)."""
    _, axis, _ = drawn(load_device("nvidia_t4"), resnet18())
    roofs = [
        (line.get_xdata()[0], line.get_ydata())
        for line in axis.lines
        if line.get_color() == "black"
    ]
    slope, *flat = roofs
    assert slope[1][1] == 130e12
    assert sorted((float(x), y[0]) for x, y in flat) == [
        (pytest.approx(65e12 / 320e9), 65e12),
        (pytest.approx(130e12 / 320e9), 130e12),
    ]
    said = [text.get_text() for text in axis.texts]
    assert "int8 w8a8" in said
    assert "int4 w4a4" in said


def test_points_lie_on_or_below_their_roof():
    """What a layer attains is the lesser of peak and bytes times bandwidth; here nothing else holds it."""
    layers = list(resnet18())
    _, _, points = drawn(load_device("nvidia_t4"), layers)
    for label, peak in (("w4a4", 130e12), ("w8a8", 65e12)):
        intensity, attained = points[label].T
        assert len(intensity) == len(layers)
        assert attained == pytest.approx(np.minimum(peak, intensity * 320e9), rel=1e-9)


def test_overhead_holds_layers_below():
    """With an overhead every point lies below its roof; the slowest layer is named."""
    device = array(overhead=1000, memories=[memory("DRAM", bandwidth=10**9)])
    layers = [
        LayerDescription(f"layer{i}", "Conv2d", 100, 10**i, (1, 3, 8, 8), (1, 3, 8, 8))
        for i in range(2, 7)
    ]
    _, axis, points = drawn(device, layers, [W8])
    intensity, attained = points["w8a8"].T
    assert (attained < 0.9 * np.minimum(1e9, intensity * 1e9)).all()
    assert "layer6" in [text.get_text() for text in axis.texts]


def test_odd_names_and_empty_layers(tmp_path):
    """Names do no harm; what multiplies nothing has no place and is left out."""
    layers = [
        LayerDescription(name, "Conv2d", 9, 1000 * (i + 1), (1, 3, 8, 8), (1, 3, 8, 8))
        for i, name in enumerate(ODD)
    ]
    empty = LayerDescription("empty", "Conv2d", 9, 0, (1, 3, 8, 8), (1, 3, 8, 8))
    figure, _, points = drawn(load_device("nvidia_t4"), [*layers, empty])
    assert {len(of) for of in points.values()} == {len(ODD)}
    check_written(figure, tmp_path)


def test_nothing_to_draw(tmp_path):
    """Where no layer multiplies, there is a frame and nothing in it."""
    empty = LayerDescription("empty", "Conv2d", 9, 0, (1, 3, 8, 8), (1, 3, 8, 8))
    figure, _, points = drawn(load_device("nvidia_t4"), [empty])
    assert points == {}
    check_written(figure, tmp_path)
