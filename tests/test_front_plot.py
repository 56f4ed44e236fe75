"""The picture of a front: what is drawn is there, whatever its size, its scale and its names."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.plots import MeasuredPoint, draw_front, save
from bitwright.problems import BitConfiguration, ParetoFront, Precision

from .pictures import ODD, check_written, front


def measured(names) -> list[MeasuredPoint]:
    """One measured point per name, all kinds among them."""
    return [
        MeasuredPoint(
            name,
            i,
            float("nan") if i == 1 else 0.1 * i,
            0.5,
            None if i % 2 else 0.6,
            i == 2,
            i % 3 == 0,
        )
        for i, name in enumerate(names)
    ]


@pytest.mark.parametrize("points", [0, 1, 2, 100_000])
def test_fronts_of_any_size(tmp_path, points):
    """No point, one and a hundred thousand are drawn, and the file of many stays small."""
    check_written(draw_front(front(points)), tmp_path)
    assert (tmp_path / "x.svg").stat().st_size < 200_000


@pytest.mark.parametrize("scale", ["linear", "log", "symlog"])
def test_no_step_is_lost_to_sight(scale):
    """Of many points those are drawn from which no other is a pixel away, whatever the scale."""
    rising = np.arange(50_001)
    losses = {
        "linear": 2.0 - rising / 50_000,
        "log": 10.0 ** (-3 * rising / 50_000),
        "symlog": 10.0 ** (-3 * rising / 50_000) - 1e-3,
    }[scale]
    whole = ParetoFront("p", "s", ("size_bits",), 10**6 + rising, losses, exact=True, epsilon=0.0)
    axis = draw_front(whole).axes[0]
    assert axis.get_yscale() == scale
    drawn = axis.lines[0].get_xydata()
    assert len(drawn) < 5_000
    everything = np.column_stack([whole.cost_values[:, 0], losses])
    seen, wanted = (axis.transData.transform(points) for points in (drawn, everything))
    # Of the point drawn last, a point lies less than a pixel away in both directions.
    last = np.searchsorted(drawn[:, 0], everything[:, 0], side="right") - 1
    assert np.abs(seen[last] - wanted).max() < 1.0
    assert np.array_equal(drawn[[0, -1]][:, 1], losses[[0, -1]])


def with_bits(weights, activations=None, layers=None) -> ParetoFront:
    """A front whose points have these bits, shape (points, layers)."""
    weights = np.asarray(weights)
    activations = np.full_like(weights, 8) if activations is None else np.asarray(activations)
    layers = layers or [f"conv{i}" for i in range(weights.shape[1])]
    configurations = tuple(
        BitConfiguration((n, Precision(*bits)) for n, *bits in zip(layers, w, a, strict=True))
        for w, a in zip(weights.tolist(), activations.tolist(), strict=True)
    )
    rising = np.arange(len(weights))
    return ParetoFront(
        "p", "s", ("size_bits",), 1000 + rising, 2.0 - rising / len(rising), exact=True,
        epsilon=0.0, configurations=configurations,
    )  # fmt: skip


def cells(axis) -> list[list[int]]:
    """The bits that a panel shows, by its colours and the legend of the last panel."""
    image = axis.images[0]
    legend = axis.figure.axes[-1].get_legend()
    bits = {
        patch.get_facecolor(): int(text.get_text())
        for patch, text in zip(legend.get_patches(), legend.get_texts(), strict=True)
    }
    colours = image.cmap(image.norm(image.get_array()))
    return [[bits[tuple(colour)] for colour in row] for row in colours]


@pytest.mark.parametrize(
    ("activations", "titles"),
    [
        (None, ["bits of weights (activations 8)"]),
        ([[2, 4, 8], [4, 8, 8]], ["bits of weights and activations"]),
        ([[8, 4, 8], [4, 8, 8]], ["bits of weights", "bits of activations"]),
    ],
)
def test_the_strip_shows_every_layer_at_every_chosen_point(tmp_path, activations, titles):
    """Cells have the colours of their bits; activations have a panel where they are not implied."""
    weights = [[2, 4, 8], [4, 8, 8]]
    chosen = with_bits(weights, activations)
    figure = draw_front(chosen, chosen=chosen)
    top, *panels = figure.axes
    assert [axis.get_title() for axis in panels] == titles
    shown = [weights, activations] if len(panels) == 2 else [weights]
    assert [cells(axis) for axis in panels] == [np.transpose(bits).tolist() for bits in shown]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == [
        "conv0",
        "conv1",
        "conv2",
    ]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["1\n1k", "2\n1.001k"]
    assert [text.get_text() for text in top.texts] == ["1", "2"]  # the numbers of the columns
    check_written(figure, tmp_path)


@pytest.mark.parametrize(("points", "layers"), [(1, 1), (40, 60), (1, 5000), (70, 61)])
def test_strips_of_any_size(tmp_path, points, layers):
    """One cell and a great many are drawn; names of layers stand there up to sixty of them."""
    rng = np.random.default_rng(0)
    chosen = with_bits(rng.choice([1, 4, 32], (points, layers)), rng.choice([4, 8], (points, layers)))  # fmt: skip
    figure = draw_front(front(500), chosen=chosen)
    assert (figure.axes[1].get_ylabel() == "layer (index)") == (layers > 60)
    check_written(figure, tmp_path)
    assert (tmp_path / "x.svg").stat().st_size < 400_000


def test_chosen_points_without_bits_have_no_strip():
    """Points without configurations, and none, leave the front alone."""
    for chosen in (None, front(3), front(0)):
        assert len(draw_front(front(5), chosen=chosen).axes) == 1


def test_the_knee_is_marked():
    """The star lies on the point that `knee` names; a front without one has none."""
    curve = front(50)
    figure = draw_front(curve)
    star = next(c for c in figure.axes[0].collections if "knee" in str(c.get_label()))
    point = curve[curve.knee()]
    assert star.get_offsets().tolist() == [[point.costs["size_bits"], point.loss]]
    assert not [c for c in draw_front(front(2)).axes[0].collections if "knee" in str(c.get_label())]


@pytest.mark.parametrize("points", [0, 1, 500, 1001])
def test_fronts_of_two_costs(tmp_path, points):
    """Two costs are the axes, with their units, and the loss is the colour."""
    figure = draw_front(front(points, ("size_bits", "a$b_c$")))
    axis, bar = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("size (bits)", "a$b_c$")
    assert bar.get_ylabel() == "loss increase (lower is better)"
    check_written(figure, tmp_path)
    assert (tmp_path / "x.svg").stat().st_size < 500_000


@pytest.mark.parametrize(
    ("low", "high", "scale"), [(100, 999, "linear"), (100, 1001, "log"), (0, 1001, "linear")]
)
def test_costs_over_decades_are_logarithmic(low, high, scale):
    """More than a decade is drawn logarithmically, and nothing that holds a zero."""
    two = ParetoFront("p", "s", ("latency_us",), [low, high], [1.0, 0.5], exact=True, epsilon=0.0)
    axis = draw_front(two).axes[0]
    assert (axis.get_xscale(), axis.get_xlabel()) == (scale, "latency (µs)")


def test_odd_names_in_a_front(tmp_path):
    """Problem, cost, metric and points may bear any name; none of it is mathematics or markup."""
    for name in ("".join(ODD[:-1]), ODD[-1]):
        check_written(draw_front(front(3, (name,), name), measured(ODD), quality=name), tmp_path)


def test_two_builds_of_a_figure_are_equal(tmp_path):
    """The bytes do not depend on the figure object."""
    for name in ("a", "b"):
        save(draw_front(front(5), measured("abcd"), "accuracy"), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "a.svg").read_bytes()
