"""Two ways of trying every configuration agree: one by one, and all at once."""

import numpy as np
import pytest
from hypothesis import given, settings

from bitwright.testing.brute_force import brute_force, brute_force_front, feasible
from bitwright.testing.enumeration import enumerated
from bitwright.testing.known_cases import KNOWN_CASES, tabulated
from tests.search.random_problems import PAIRS, SIDES, budgeted

FAST = settings(max_examples=150, deadline=None, derandomize=True)


@FAST
@given(budgeted(costs=2, sides=SIDES, same_lists=False, pairs=PAIRS, peaks=True))
def test_the_same_configurations_with_the_same_figures(problem):
    """Selections, exact costs and losses are those of `evaluate`, in the same order."""
    found, one_by_one = enumerated(problem), list(feasible(problem))
    assert len(found) == len(one_by_one)
    lines = np.arange(len(found))
    losses, selections = found.exact_losses(lines), found.selections(lines)
    for line, (selection, evaluation) in enumerate(one_by_one):
        assert selections[line].tolist() == selection.tolist()
        assert losses[line] == evaluation.loss
        assert abs(found.losses[line] - evaluation.loss) <= found.rounding
        for name, cost in evaluation.costs.items():
            assert found.costs[name][line] == cost * found.scales[name]


@FAST
@given(budgeted(costs=2, sides=SIDES, same_lists=False, pairs=PAIRS))
def test_the_same_optimum_and_fronts(problem):
    """The least loss and the fronts against one and two costs agree to the last bit."""
    found, best = enumerated(problem), brute_force(problem)
    assert found.least_loss() == (None if best is None else best.loss)
    for costs in (("c0",), ("c1",), ("c1", "c0")):
        assert found.front(*costs) == brute_force_front(problem, *costs)


def test_rounding_decides_nothing():
    """Sums that floats confuse are told apart: 0.1 + 0.2 + 0.3 and its mirror image."""
    tiny = 2.0**-60
    losses = [[1.0, 1.0 + 2.0**-52], [tiny, 0.0], [tiny, 2 * tiny]]
    problem = tabulated("close", losses, {"c": [[1, 0], [1, 0], [1, 0]]})
    for budget in range(4):
        bounded = problem.with_budgets({"c": budget})
        assert enumerated(bounded).least_loss() == brute_force(bounded).loss
    assert enumerated(problem).front("c") == brute_force_front(problem, "c")


def test_too_many_configurations_are_refused():
    """What would fill the memory is refused before it does."""
    problem = tabulated("many", [[0] * 16] * 8, {"c": [[0] * 16] * 8})
    with pytest.raises(ValueError, match="4,294,967,296 configurations are too many"):
        enumerated(problem)


@pytest.mark.parametrize("case", KNOWN_CASES, ids=lambda case: case.name)
def test_known_optima(case):
    """What is known of the cases, published figures among it, comes out of trying everything."""
    least = enumerated(case.problem).least_loss()
    if case.optimum is None:
        assert least is None
    else:
        assert least == pytest.approx(case.optimum, abs=case.tolerance)
