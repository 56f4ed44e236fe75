"""Fronts by boxes of budgets: within the error that they state, on awkward and on real sizes."""

import numpy as np
import pytest
from hypothesis import assume, given, settings

from bitwright.problems.errors import UnsupportedProblemError
from bitwright.problems.precision import Precision
from bitwright.problems.protocols import Effort, SolveSession
from bitwright.search.general.boxes import boxed_front
from bitwright.testing.brute_force import brute_force_front
from bitwright.testing.known_cases import tabulated
from tests.search.random_problems import PAIRS, SIDES, budgeted

EPSILONS = (0.0, 0.05, 0.3)


def proposed(problem, costs, epsilon, states=None):
    session = SolveSession(np.random.default_rng(0), Effort(states=states))
    return boxed_front(problem, costs, session, epsilon)


def check(problem, costs, epsilon):
    front = proposed(problem, costs, epsilon)
    true = brute_force_front(problem, *costs)
    if not true:
        assert len(front.losses) == 0
        return
    found = [problem.evaluate(s) for s in front.selections(np.arange(len(front.losses)))]
    assert all(not e.over_budget(problem.budgets) for e in found)
    losses = [loss for *_, loss in true]
    allowed = front.epsilon * (max(losses) - min(losses)) + 1e-9 * max(map(abs, losses))
    assert front.epsilon <= epsilon
    for *values, loss in true:
        matches = [
            e.loss - loss
            for e in found
            if all(e.costs[c] <= v for c, v in zip(costs, values, strict=True))
        ]
        assert min(matches) <= allowed


@pytest.mark.parametrize("epsilon", EPSILONS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(problem=budgeted(costs=2, max_layers=3, sides=SIDES, pairs=PAIRS))
def test_two_costs(problem, epsilon):
    check(problem, ["c0", "c1"], epsilon)


@pytest.mark.parametrize("epsilon", EPSILONS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(problem=budgeted(costs=3, max_layers=3, sides=SIDES, pairs=PAIRS))
def test_one_cost_under_other_budgets(problem, epsilon):
    check(problem, ["c1"], epsilon)


@pytest.mark.slow
@pytest.mark.parametrize("costs", [["c0"], ["c0", "c1"], ["c2", "c0", "c1"]])
@settings(max_examples=700, deadline=None)
@given(problem=budgeted(costs=3, max_layers=4, sides=SIDES, pairs=PAIRS, peaks=True))
def test_any_costs_thoroughly(costs, problem):
    for epsilon in EPSILONS:
        check(problem, costs, epsilon)


def test_the_error_is_stated_where_the_effort_ends():
    rng = np.random.default_rng(1)
    bits = np.array([2, 3, 4, 6, 8])
    size, operations, harm = (rng.lognormal(3, 1, (30, 1)) for _ in range(3))
    costs = {"c0": np.rint(size * bits), "c1": np.rint(operations * bits**2)}
    problem = tabulated(
        "traded",
        (harm * 4.0**-bits * rng.uniform(0.8, 1.2, (30, 5))).tolist(),
        {name: table.astype(int).tolist() for name, table in costs.items()},
        [[Precision(int(b), int(b)) for b in bits]] * 30,
    )
    rough = proposed(problem, ["c0", "c1"], 0.0, states=40)
    finer = proposed(problem, ["c0", "c1"], 0.0, states=160)
    assert not rough.exact
    assert not finer.exact
    assert 0 < finer.epsilon < rough.epsilon


def test_a_front_over_a_peak_is_refused():
    seen = []

    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(problem=budgeted(costs=1, peaks=True))
    def refused(problem):
        assume(problem.peaks)
        seen.append(problem)
        with pytest.raises(UnsupportedProblemError, match="peak cost"):
            proposed(problem, [problem.peaks[0].cost], 0.1)

    refused()
    assert seen
