"""The general search: pairs found in the grid, honest limits, and answers at real sizes."""

import numpy as np
import pytest

from bitwright.problems.exact import plain
from bitwright.problems.protocols import Effort, SolveSession
from bitwright.problems.solution import Status
from bitwright.search.door import solve
from bitwright.search.exact import ExactSolver
from bitwright.search.general.deviations import DeviationList, States
from bitwright.search.general.halves import Half
from bitwright.search.general.meeting import Limits, best_pair
from bitwright.search.one_budget.lists import Trail
from tests.search.milp import milp_answer
from tests.search.test_frontiers import linked
from tests.search.test_multipliers import linear_bound, random_problem


def highs_loss(problem):
    """The loss of what HiGHS holds to be the optimum."""
    return problem.evaluate(milp_answer(problem).selection).loss


def deviation_list(rng, size, keys, origin, rows, shared):
    key = rng.integers(0, keys, size)
    penalty = rng.uniform(0, 1, size) + (shared[key] if origin else 0)
    none = np.zeros(size, dtype=np.int64)
    states = States(
        origin=key if origin else none,
        key=none if origin else key,
        penalty=penalty,
        loss=rng.integers(-1000, 1000, size),
        units=rng.integers(-500, 500, (size, rows)),
    )
    return DeviationList(Half((), none, none.astype(float), 1), states, Trail(), complete=True)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("keys", [1, 3])
def test_best_pair_is_that_of_all_pairs(rows, keys):
    """Of the pairs within the allowance none is better than the one that the grid finds."""
    rng = np.random.default_rng(10 * rows + keys)
    session = SolveSession(np.random.default_rng(0))
    for _ in range(20):
        shared = rng.uniform(0, 0.2, keys)
        a = deviation_list(rng, 60, keys, False, rows, shared)
        b = deviation_list(rng, 50, keys, True, rows, shared)
        room = rng.integers(-200, 400, rows)
        multipliers = rng.choice([0.0, 1e-4, 1e-3, 1e-2], rows)
        limits = Limits(room, multipliers, float(rng.uniform(0.3, 2.0)), 10**6)
        met = best_pair(a, b, shared, limits, session)
        x, y = a.states, b.states
        truth = [
            x.loss[i] + y.loss[j]
            for i in range(len(x))
            for j in range(len(y))
            if x.key[i] == y.origin[j]
            and (slack := room - x.units[i] - y.units[j]).min(initial=0) >= 0
            and x.penalty[i] + y.penalty[j] - shared[x.key[i]] + slack @ multipliers
            <= limits.allowance
        ]
        assert met.complete
        if truth:
            assert met.loss is not None
            assert met.loss <= min(truth)
        if met.loss is not None:
            assert x.key[met.first] == y.origin[met.second]
            assert (x.units[met.first] + y.units[met.second] <= room).all()
            assert met.loss == x.loss[met.first] + y.loss[met.second]


@pytest.mark.parametrize("seed", range(4))
def test_three_budgets_are_proved_and_agree_with_highs(seed):
    problem = random_problem(seed, 60, 8, 3)
    solution = solve(problem, ExactSolver())
    truth = highs_loss(problem)
    assert solution.status is Status.OPTIMAL
    assert solution.loss == pytest.approx(truth, abs=1e-6)
    assert solution.loss >= linear_bound(problem) - 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_short_lists_leave_an_honest_gap(seed):
    problem = random_problem(seed, 60, 8, 3)
    best = solve(problem, ExactSolver())
    limited = solve(problem, ExactSolver(), effort=Effort(states=2))
    assert limited.status in (Status.OPTIMAL, Status.FEASIBLE)
    assert limited.lower_bound <= best.loss <= limited.loss


def test_few_layers_and_many_budgets_are_branched_on():
    problem = random_problem(11, 12, 8, 8, share=0.45)
    solution = solve(problem, ExactSolver())
    truth = highs_loss(problem)
    assert solution.status is Status.OPTIMAL
    assert solution.loss == pytest.approx(truth, abs=1e-6)


def test_a_thousand_layers_under_three_budgets_come_with_a_small_gap():
    problem = random_problem(5, 1000, 16, 3)
    solution = solve(problem, ExactSolver(), effort=Effort(states=20_000))
    assert solution.status.has_answer
    assert solution.relative_gap <= 1e-3
    assert solution.lower_bound >= linear_bound(problem) - 1e-6


def test_a_chain_is_cut_in_the_middle_and_proved():
    problem = linked(3, 40, [(i, i + 1) for i in range(39)] + [(i, i + 2) for i in range(0, 38, 3)])
    solution = solve(problem, ExactSolver())
    truth = highs_loss(problem)
    assert solution.status is Status.OPTIMAL
    assert solution.loss == pytest.approx(truth, abs=1e-6)


def test_dense_pairs_are_left_to_the_integer_program():
    pairs = [(i, j) for i in range(14) for j in range(i)]
    problem = linked(2, 14, pairs, choices=4).with_budgets({"c": 650})
    solution = solve(problem, ExactSolver(), effort=Effort(seconds=5))
    assert solution.status.has_answer
    assert plain(problem.budgets["c"]) >= solution.costs["c"]
    assert solution.lower_bound <= solution.loss
