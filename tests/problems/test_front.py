"""Fronts: the filter against brute force, the hypervolume against a grid, and the rules."""

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bitwright.problems import BitConfiguration, InputError, ParetoFront, Precision, non_dominated

from .strategies import many, some


def front(values, losses, **changes):
    costs = tuple(f"cost{k}" for k in range(np.ndim(values) and np.atleast_2d(values).shape[1]))
    fields = {"problem": "p", "solver": "s", "costs": costs, "exact": True, "epsilon": 0.0}
    return ParetoFront(**{**fields, "cost_values": values, "losses": losses, **changes})


@st.composite
def clouds(draw, costs=None):
    """Points on a coarse grid, so that equal costs, losses and whole points are common."""
    shape = draw(st.integers(0, 12)), costs or draw(st.integers(1, 3))
    values = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 4)))
    return values, draw(hnp.arrays(np.float64, shape[0], elements=st.integers(-2, 3).map(float)))


def brute_force(values, losses):
    """Points that no other beats, the first of equal ones, by ascending costs and loss."""
    points = [(*v, w) for v, w in zip(values.tolist(), losses.tolist(), strict=True)]
    kept = [
        i
        for i, p in enumerate(points)
        if p not in points[:i]
        and not any(q != p and all(x <= y for x, y in zip(q, p, strict=True)) for q in points)
    ]
    return sorted(kept, key=points.__getitem__)


def front_of(cloud):
    values, losses = cloud
    kept = non_dominated(values, losses)
    return front(values[kept], losses[kept], costs=("a", "b", "c")[: values.shape[1]])


@some
@given(clouds())
@example((np.empty((0, 2), dtype=np.int64), np.empty(0)))
def test_the_filter_equals_brute_force(cloud):
    """One, two and three costs, with duplicates and equal costs; the input is left alone."""
    before = [a.copy() for a in cloud]
    assert non_dominated(*cloud).tolist() == brute_force(*cloud)
    for array, copy in zip(cloud, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.slow
@many
@given(clouds())
def test_the_filter_equals_brute_force_on_many(cloud):
    """The same over many more clouds."""
    assert non_dominated(*cloud).tolist() == brute_force(*cloud)


def test_a_point_with_a_nan_is_left_out():
    """It neither stands in the front nor pushes others out of it."""
    assert non_dominated([1, 2, 3], [np.nan, 5, 4]).tolist() == [1, 2]
    assert non_dominated([[np.nan, 0], [1, 1]], [0, 1]).tolist() == [1]


@some
@given(clouds())
def test_a_front_keeps_the_non_dominated_points(cloud):
    """Points ascend by first cost, and each is one of the cloud with its numbers unchanged."""
    values, losses = cloud
    kept = brute_force(values, losses)
    read = [(*p.costs.values(), p.loss) for p in front_of(cloud)]
    assert read == [(*values[i].tolist(), losses[i]) for i in kept]
    firsts = [p[0] for p in read]
    assert firsts == sorted(firsts)


@some
@given(clouds(costs=1), st.integers(-1, 6), st.integers(-3, 5))
def test_the_hypervolume_counts_dominated_cells(cloud, cost, loss):
    """On integer points it is the number of unit cells that some point dominates."""
    values, losses = cloud
    cells = sum(
        any(v <= x and w <= y for v, w in zip(values[:, 0], losses, strict=True))
        for x in range(-1, cost)
        for y in range(-3, loss)
    )
    assert front_of(cloud).hypervolume((cost, loss)) == cells


def test_the_hypervolume_takes_one_cost():
    """More objectives are refused."""
    with pytest.raises(InputError, match="hypervolume takes one cost and one loss, got 2 costs"):
        front([[1, 2]], [0.0], costs=("a", "b")).hypervolume((3, 3, 3))


@some
@given(clouds(), st.integers(1, 15))
def test_a_spread_reaches_both_ends(cloud, points):
    """As many as asked for or all, each once and in order, both ends among two or more."""
    whole = front_of(cloud)
    taken = whole.spread(points).tolist()
    assert len(taken) == min(points, len(whole))
    assert taken == sorted(set(taken))
    assert taken[:1] in ([0], [])
    if points > 1 and len(whole):
        assert taken[-1] == len(whole) - 1


def test_a_spread_is_even_along_the_front():
    """On a straight front the points are evenly spaced; steep and flat parts both get points."""
    straight = front(np.arange(101)[:, None], np.arange(100.0, -1, -1), costs=("ms",))
    assert straight.spread(5).tolist() == [0, 25, 50, 75, 100]
    costs = np.concatenate([np.arange(100) / 1000, 1 + np.arange(100.0)])
    losses = np.concatenate([np.arange(200.0, 100, -1), (99 - np.arange(100)) / 1000])
    bent = front(costs[:, None], losses, costs=("ms",))
    taken = bent.spread(21)
    assert (taken < 100).sum() in (10, 11)


def test_a_spread_needs_a_point():
    """Zero points are refused."""
    with pytest.raises(InputError, match="points must be 1 or more, got 0"):
        front([1], [1.0], costs=("ms",)).spread(0)


def test_points_carry_their_configuration():
    """Costs are plain integers or floats by name, and bits are there where they were kept."""
    bits = BitConfiguration({"fc": Precision(4, 4)})
    kept = front([[1], [2]], [2.0, 1.0], costs=("ms",), configurations=[bits, None])
    assert [(p.costs, p.loss, p.configuration) for p in kept] == [
        ({"ms": 1}, 2.0, bits),
        ({"ms": 2}, 1.0, None),
    ]
    assert isinstance(kept[0].costs["ms"], int)
    assert isinstance(front([0.5], [1.0], costs=("ms",))[0].costs["ms"], float)
    assert front([1], [1.0], costs=("ms",))[0].configuration is None


def test_the_callers_arrays_stay_theirs():
    """Arrays are copied, and the front's own cannot be written."""
    values, losses = np.array([[1], [2]]), np.array([2.0, 1.0])
    kept = front(values, losses, costs=("ms",))
    values[:] = 9
    losses[:] = 9
    assert kept == front([1, 2], [2, 1], costs=("ms",))
    for array in (kept.cost_values, kept.losses):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("values", "losses", "changes", "message"),
    [
        ([1, 2], [1, 1], {}, "must be non-dominated and ascend by first cost"),
        ([1, 1], [2, 1], {}, "must be non-dominated"),
        ([2, 1], [1, 2], {}, "must be non-dominated and ascend by first cost"),
        ([1, 1], [1, 1], {}, "must be non-dominated"),
        ([[1, 2], [1, 1]], [1, 2], {"costs": ("a", "b")}, "must be non-dominated and ascend"),
        ([1, np.nan], [2, 1], {}, "the costs and losses of a front must be finite"),
        ([1, 2], [np.inf, 1], {}, "the costs and losses of a front must be finite"),
        ([1, 2, 3], [2, 1], {}, "must have shape (points, costs) = (2, 1), got (3,)"),
        ([[1, 2, 3], [3, 2, 1]], [3, 2, 1], {"costs": ("a", "b")}, "(3, 2), got (2, 3)"),
        ([], [], {"costs": ()}, "a front needs one or more costs"),
        ([1], [1], {"configurations": [None] * 2}, "a front of 1 points needs as many configurat"),
    ],
)
def test_what_is_no_front_is_refused(values, losses, changes, message):
    """Dominated, equal and unordered points, and wrong shapes, each with its message."""
    with pytest.raises(InputError, match=re.escape(message)):
        front(values, losses, **{"costs": ("ms",), **changes})


def distance_from_chord(points, i):
    """Of point i from the line through both ends, after both axes are brought to [0, 1]; above it negative."""
    low, high = points.min(axis=0), points.max(axis=0)
    (x, y), start, end = ((points[k] - low) / (high - low) for k in (i, 0, -1))
    across = (end[0] - start[0]) * (start[1] - y) - (start[0] - x) * (end[1] - start[1])
    return across / np.hypot(*(end - start))


@some
@given(clouds(costs=1))
def test_the_knee_is_farthest_from_the_chord(cloud):
    """By the formula of the distance from a line through two points, for every front."""
    found = front_of(cloud)
    knee = found.knee()
    if len(found) < 3:
        assert knee is None
        return
    points = np.column_stack([found.cost_values, found.losses])
    distances = [distance_from_chord(points, i) for i in range(len(points))]
    if knee is None:
        assert max(distances) == pytest.approx(0.0, abs=1e-12)
    else:
        assert distances[knee] == pytest.approx(max(distances))
        assert distances[knee] > 0


def test_the_knee_of_a_published_curve():
    """Figure 2 of Satopaa et al. 2011, y = 5 - 1 / (x + 0.1), turned upside down: the knee is at 0.22."""
    x = np.linspace(0.0, 1.0, 10)
    curve = front(x[:, None], 1.0 / (x + 0.1))
    assert round(curve[curve.knee()].costs["cost0"], 2) == 0.22


def test_the_knee_does_not_depend_on_units():
    """Neither on those of the cost nor of the loss, nor on where they start, however large they are."""
    x = np.array([[0], [1], [2], [3], [9]])
    losses = np.array([9.0, 4.0, 2.0, 1.5, 0.0])
    for shift, factor in ((0, 1), (7, 1000), (2**62 - 9000, 1)):
        assert front(x * factor + shift, losses * 1e-30 - 1e-29).knee() == 2


def test_no_knee():
    """None for two points, for a front that bulges outwards, and for several costs."""
    assert front([[1], [2]], [1.0, 0.0]).knee() is None
    assert front([[0], [1], [2], [3]], [9.0, 8.0, 6.0, 0.0]).knee() is None
    assert front([[0, 3], [1, 1], [2, 0]], [9.0, 2.0, 1.0]).knee() is None
