"""What was verified as values: figures over seeds, points by name, and what cannot be."""

from __future__ import annotations

import pickle
import statistics
from dataclasses import replace

import pytest

from bitwright.problems import InputError
from bitwright.problems.verified import OverSeeds

from .verified import point, quality, verified


@pytest.mark.parametrize("values", [(0.5, 0.75, 0.9), (0.1, 0.1), (0.3, None, 0.5)])
def test_mean_and_spread_are_those_of_the_statistics_module(values):
    """Mean and sample standard deviation, as `statistics` computes them, of the figures that exist."""
    known = [v for v in values if v is not None]
    figures = OverSeeds(values)
    assert figures.mean == pytest.approx(statistics.mean(known), rel=1e-15)
    assert figures.spread == pytest.approx(statistics.stdev(known), rel=1e-12, abs=1e-15)


def test_one_seed_has_no_spread_and_none_no_mean():
    """A spread needs two figures, a mean one."""
    assert (OverSeeds((0.5,)).mean, OverSeeds((0.5,)).spread) == (0.5, None)
    assert (OverSeeds((None, None)).mean, OverSeeds(()).spread) == (None, None)


def test_best_is_after_training_where_there_was_any():
    """Dominance and pictures go by QAT's mean, else by PTQ."""
    assert point("x", qat=(0.5, 0.75)).best("accuracy") == 0.625
    assert point("x", ptq=0.25, qat=()).best("accuracy") == 0.25


def test_points_by_name():
    """The name finds the point; an unknown one is answered with the nearest."""
    whole = verified()
    assert whole.point("small") is whole.points[0]
    with pytest.raises(
        InputError, match=r"no verified point is named 'smal'; did you mean 'small'\?"
    ):
        whole.point("smal")


def test_values_pickle_and_compare():
    """What a worker sends is what arrives."""
    assert pickle.loads(pickle.dumps(verified())) == verified()
    assert verified() != verified(seed=4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: point("x", "fronts"), "kind 'fronts' is unknown; did you mean 'front'"),
        (lambda: point("x", qat=(), weights=("a",)), "point 'x' has weights but was not trained"),
        (lambda: verified(cost="size"), "point 'small': cost 'size' is missing; did you mean 'size_bits'"),
        (lambda: verified(main_metric="acuracy"), "main_metric 'acuracy' was not measured; did you mean 'accuracy'"),
        (lambda: verified(loss_reading="over"), "loss_reading 'over' is unknown; did you mean 'overall'"),
        (lambda: verified([point("x"), point("x")]), "two points are named 'x'"),
        (lambda: verified(seeds=(1,)), "point 'small' must have one figure per seed, 1"),
        (lambda: verified([point("x", weights=("a",))]), "must have weights for all 2 seeds or for none, got 1"),
        (lambda: verified([replace(point("x"), ptq=quality(0.1, metric="map"))]), "point 'x' must have the metrics of the float network"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(build, message):
    """Every contradiction is named when the value is made."""
    with pytest.raises(InputError) as caught:
        build()
    assert message in str(caught.value)
