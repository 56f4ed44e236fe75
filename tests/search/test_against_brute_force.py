"""Our solvers find what trying every configuration finds, on thousands of awkward problems."""

import numpy as np
import pytest
from hypothesis import given, settings

from bitwright.problems.solution import Status
from bitwright.search.door import front, solve
from bitwright.search.exact import ExactSolver
from bitwright.search.front import FrontSolver
from bitwright.search.ilp import IlpSolver
from bitwright.testing.brute_force import brute_force, brute_force_front
from tests.search.random_problems import SIDES, budgeted, tables

FAST = settings(max_examples=150, deadline=None, derandomize=True)
THOROUGH = settings(max_examples=3000, deadline=None)
FEW = settings(max_examples=25, deadline=None, derandomize=True)


def check_proved(problem, solver):
    solution, best = solve(problem, solver), brute_force(problem)
    if best is None:
        assert solution.status is Status.INFEASIBLE
        assert solution.explanation
    else:
        assert solution.status is Status.OPTIMAL
        assert solution.loss == best.loss


def check_front(problem, solver):
    found, true = front(problem, ["c0"], solver), brute_force_front(problem, "c0")
    assert found.exact
    true_costs = np.array([float(cost) for cost, _ in true])
    true_losses = np.array([loss for _, loss in true])
    kept = np.append(true_costs[1:] != true_costs[:-1], True) if true else []
    assert found.cost_values[:, 0].astype(float).tolist() == true_costs[kept].tolist()
    assert found.losses.tolist() == true_losses[kept].tolist()


@FAST
@given(budgeted(sides=SIDES))
def test_exact(problem):
    """The exact solver proves the loss that brute force finds, to the last bit."""
    check_proved(problem, ExactSolver())


@FAST
@given(budgeted(sides=SIDES))
def test_front_end(problem):
    """The end of the front within a budget is the optimum."""
    check_proved(problem, FrontSolver())


@FAST
@given(tables(sides=SIDES))
def test_front(problem):
    """The front holds every non-dominated point and no other."""
    check_front(problem, FrontSolver())


@FAST
@given(budgeted(sides=SIDES))
def test_front_within_budget(problem):
    """A budget on the front's cost cuts the front off there."""
    check_front(problem, FrontSolver())


@FEW
@given(budgeted(costs=2, max_layers=3, sides=SIDES))
def test_ilp(problem):
    """The integer program never breaks a budget nor claims what is not so, and is near the best."""
    solution, best = solve(problem, IlpSolver()), brute_force(problem)
    if best is None:
        assert not solution.status.has_answer
        assert solution.explanation
        return
    assert solution.status.has_answer
    scale = float(np.abs(problem.loss).sum())
    assert solution.lower_bound <= best.loss <= solution.loss
    assert solution.loss <= best.loss + 1e-6 * scale


@pytest.mark.slow
@THOROUGH
@given(budgeted(max_layers=6, sides=SIDES))
def test_exact_thoroughly(problem):
    """The exact solver proves the loss that brute force finds, on larger problems."""
    check_proved(problem, ExactSolver())


@pytest.mark.slow
@THOROUGH
@given(budgeted(max_layers=5, sides=SIDES))
def test_front_thoroughly(problem):
    """The front is the true one, on larger problems."""
    check_front(problem, FrontSolver())
