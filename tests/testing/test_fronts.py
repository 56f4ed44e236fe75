"""The check of fronts passes true ones and catches every kind of lie."""

from dataclasses import replace

import numpy as np
import pytest

from bitwright.search.door import front
from bitwright.search.front import FrontSolver
from bitwright.testing.fronts import check_front, true_front
from bitwright.testing.known_cases import KNOWN_CASES, tabulated

TOY = next(case.problem for case in KNOWN_CASES if case.name == "no budget")
TRUE = front(TOY, ["size_bits"], FrontSolver())
WITH_BITS = front(TOY, ["size_bits"], FrontSolver(), points=99)


def without(found, k, **claims):
    """The front less its point k."""
    kept = np.arange(len(found)) != k
    return replace(
        found,
        cost_values=found.cost_values[kept],
        losses=found.losses[kept],
        configurations=tuple(np.array(found.configurations, dtype=object)[kept])
        if found.configurations
        else (),
        **claims,
    )


def test_true_fronts_pass():
    """The whole front, its points with their bits, and one with its error stated."""
    check_front(TRUE, TOY)
    check_front(WITH_BITS, TOY)
    drop = TRUE.losses[0] - TRUE.losses[1]
    error = float(drop / np.ptp(TRUE.losses))
    check_front(without(TRUE, 1, exact=False, epsilon=error), TOY)
    check_front(without(TRUE, 1, exact=False, epsilon=None), TOY)


@pytest.mark.parametrize("k", range(len(TRUE)))
def test_a_missing_point_is_caught(k):
    """A front that calls itself exact, or its error nothing, has all points."""
    with pytest.raises(AssertionError):
        check_front(without(TRUE, k), TOY)
    with pytest.raises(AssertionError):
        check_front(without(TRUE, k, exact=False, epsilon=0.0), TOY)


def test_an_understated_error_is_caught():
    """An error just below the true one is caught."""
    error = float((TRUE.losses[0] - TRUE.losses[1]) / np.ptp(TRUE.losses))
    with pytest.raises(AssertionError):
        check_front(without(TRUE, 1, exact=False, epsilon=error * 0.999), TOY)


def test_another_configuration_is_caught():
    """Every configuration has the figures of its point, and keeps the budgets."""
    wrong = replace(WITH_BITS, configurations=WITH_BITS.configurations[::-1])
    with pytest.raises(AssertionError):
        check_front(wrong, TOY)
    with pytest.raises(AssertionError):
        check_front(WITH_BITS, TOY.with_budgets({"size_bits": 5}))


def test_points_where_there_are_none_are_caught():
    """Budgets that nothing meets leave an empty front."""
    nothing = TOY.with_budgets({"size_bits": 2})
    with pytest.raises(AssertionError):
        check_front(replace(TRUE, exact=False, epsilon=None), nothing)
    check_front(front(nothing, ["size_bits"], FrontSolver()), nothing)


def test_two_costs():
    """The true front over two costs, worked out by hand: each choice wins somewhere."""
    problem = tabulated("p", [[2, 1, 1]], {"a": [[0, 1, 2]], "b": [[0, 2, 1]]})
    values, losses = true_front(problem, ("a", "b"))
    assert values.tolist() == [[0, 0], [1, 2], [2, 1]]
    assert losses.tolist() == [2, 1, 1]


def test_costs_that_floats_confuse_come_once():
    """Beyond 2**53 two totals may be one float; the better of them is kept."""
    problem = tabulated("p", [[2, 1, 0]], {"a": [[2**60, 2**60 + 1, 2**60 + 512]]})
    values, losses = true_front(problem, ("a",))
    assert values.tolist() == [[2.0**60], [2.0**60 + 512]]
    assert losses.tolist() == [1, 0]
