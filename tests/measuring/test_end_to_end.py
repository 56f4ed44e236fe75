"""The formula of end-to-end times against times made by it, and terms counted by hand."""

import numpy as np
import pytest

from bitwright.measuring.end_to_end import (
    LEAST_FACTOR,
    EndToEnd,
    Terms,
    fit,
    relative_errors,
    terms_of,
)
from bitwright.problems import InputError, Precision
from bitwright.problems.network import Link

FLOAT, EIGHT, MIXED = Precision(32, 32), Precision(8, 8), Precision(4, 8)


def random_terms(count, seed=0):
    generator = np.random.default_rng(seed)
    return [
        Terms(
            {FLOAT: generator.uniform(0, 3000), EIGHT: generator.uniform(0, 1500)},
            int(generator.integers(0, 30)),
            int(generator.integers(0, 900_000)),
        )
        for _ in range(count)
    ]


def test_terms_by_hand():
    """Sums by precision; links count where activation bits differ, not where weight bits do."""
    times = {
        "a": {FLOAT: 10.0, EIGHT: 4.0},
        "b": {FLOAT: 20.0, EIGHT: 5.0, MIXED: 6.0},
        "c": {FLOAT: 40.0, EIGHT: 7.0},
    }
    links = [Link("a", "b", 100), Link("b", "c", 30), Link("a", "c", 7), Link("c", "rest", 1)]
    bits = {"a": EIGHT, "b": MIXED, "c": FLOAT, "rest": FLOAT}
    assert terms_of(bits, times, links) == Terms({EIGHT: 4.0, MIXED: 6.0, FLOAT: 40.0}, 2, 37)
    with pytest.raises(InputError, match="layer 'a' was not measured at w4a8, but at w8a8, w32a32"):
        terms_of(bits | {"a": MIXED}, times, links)


@pytest.mark.parametrize("seed", range(5))
def test_known_figures_are_recovered(seed):
    """Of times that the formula makes, the fit finds the figures to six digits, and predicts others."""
    generator = np.random.default_rng(seed)
    true = EndToEnd(
        overhead_us=2.0,
        rest_us=float(generator.uniform(0, 300)),
        factors={FLOAT: float(generator.uniform(0.7, 2)), EIGHT: float(generator.uniform(0.7, 2))},
        change_us=float(generator.uniform(0, 5)),
        change_us_per_element=float(generator.uniform(0, 1e-3)),
    )
    found = fit([(terms, true.predict(terms)) for terms in random_terms(10, seed)], 2.0)
    assert found.factors == pytest.approx(true.factors, rel=1e-5)
    assert [found.rest_us, found.change_us] == pytest.approx(
        [true.rest_us, true.change_us], rel=1e-5, abs=1e-5
    )
    assert found.change_us_per_element == pytest.approx(true.change_us_per_element, rel=1e-5)
    unseen = random_terms(5, seed + 100)
    assert [found.predict(t) for t in unseen] == pytest.approx(
        [true.predict(t) for t in unseen], rel=1e-5
    )


def test_nothing_is_negative():
    """Where times fall with the number of changes, a change costs nothing; factors stay above 0."""
    terms = random_terms(12)
    found = fit([(t, 2000.0 - 30.0 * t.changes) for t in terms], 2.0)
    assert found.change_us == 0.0
    assert min(found.rest_us, found.change_us_per_element) >= 0.0
    assert all(factor >= LEAST_FACTOR for factor in found.factors.values())


def test_too_few_networks_are_refused():
    """Five figures need five networks."""
    with pytest.raises(InputError, match=r"5 figures are fitted .* got 4"):
        fit([(t, 100.0) for t in random_terms(4)], 2.0)


def test_header_says_the_figures():
    """Lines of a cost table, factors by the precision of the rows."""
    found = EndToEnd(2.0, 10.5, {EIGHT: 1.25, FLOAT: 0.9}, 1.37, 0.00042)
    assert found.header == {
        "rest_us": "10.5", "factor_us_w8a8": "1.25", "factor_us_w32a32": "0.9",
        "change_us": "1.37", "change_us_per_element": "0.00042",
    }  # fmt: skip
    assert relative_errors([(11.0, 10.0), (9.0, 10.0)]) == pytest.approx([0.1, 0.1])
