"""The front solver: proved errors, limits of effort, and points with their configurations."""

import numpy as np
import pytest
from hypothesis import given, settings

from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem, Choice, LayerChoices
from bitwright.problems.protocols import Effort
from bitwright.problems.solution import Status
from bitwright.search.door import front, solve
from bitwright.search.exact import ExactSolver
from bitwright.search.figures import front_figures
from bitwright.search.front import FrontSolver
from bitwright.search.one_budget import front_lists
from bitwright.search.one_budget.hull import hull_front
from bitwright.search.one_budget.lists import Trail
from bitwright.search.reduction import merge_ties, priced
from bitwright.testing.brute_force import brute_force_front
from tests.search.random_problems import budgeted, tables
from tests.search.test_exact import correlated, large, spread

FAST = settings(max_examples=100, deadline=None, derandomize=True)


def bitops_network(layers=30, seed=0):
    """Losses that fall with the bits, costs that are their products: what networks are like."""
    rng = np.random.default_rng(seed)
    bits = np.array([w * a for w in (2, 4, 6, 8) for a in (4, 8)])
    noise = np.array([4.0**-w + 4.0**-a for w in (2, 4, 6, 8) for a in (4, 8)])
    costs = rng.integers(10**6, 10**8, layers)[:, None] * bits
    losses = 10 ** rng.uniform(-3, 1, layers)[:, None] * noise * rng.uniform(0.9, 1.1, (layers, 8))
    return large(losses, costs)


def error_of(approximate, true):
    """The largest loss by which a true point is better than the last one here that costs no more."""
    before = np.searchsorted(approximate.cost_values[:, 0], true.cost_values[:, 0], "right") - 1
    assert before.min() >= 0
    excess = (approximate.losses[before] - true.losses).max()
    return excess / np.ptp(true.losses) if np.ptp(true.losses) else 0.0


@pytest.mark.parametrize("epsilon", [0.1, 1e-2, 1e-4, 1e-6])
def test_allowed_error_is_kept_and_saves_points(epsilon):
    """A front with an allowed error has fewer points, and its stated error holds."""
    problem = bitops_network()
    true = front(problem, ["c"], FrontSolver())
    rough = front(problem, ["c"], FrontSolver(), epsilon=epsilon)
    assert true.exact
    assert not rough.exact
    assert rough.epsilon <= epsilon
    assert len(rough) < len(true)
    assert error_of(rough, true) <= rough.epsilon * (1 + 1e-9)


@FAST
@given(tables() | budgeted())
def test_limited_effort_gives_a_front_with_a_true_error(problem):
    """Lists of one state are too short for most fronts: the hull comes, and its error holds."""
    true = front(problem, ["c0"], FrontSolver())
    rough = front(problem, ["c0"], FrontSolver(), effort=Effort(states=1))
    if len(true):
        assert error_of(rough, true) <= rough.epsilon * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("points", [1, 2, 7, 50, 10**6])
def test_chosen_points_lie_on_the_front(points):
    """Spread points are points of the whole front, ends included, with what is left out stated."""
    problem = bitops_network(12)
    true = front(problem, ["c"], FrontSolver())
    some = front(problem, ["c"], FrontSolver(), points=points)
    assert len(some) <= points
    assert set(some.losses.tolist()) <= set(true.losses.tolist())
    assert some.losses[0] == true.losses[0]
    assert some.exact == (points >= len(true))
    assert error_of(some, true) <= some.epsilon * (1 + 1e-9)
    for point in some:
        evaluation = problem.evaluate(problem.selection(point.configuration))
        assert (evaluation.loss, evaluation.costs["c"]) == (point.loss, point.costs["c"])


def test_every_budget_of_the_front_is_an_optimum():
    """The front and the exact solver agree along the whole range."""
    problem = bitops_network()
    for point in front(problem, ["c"], FrontSolver(), points=12):
        budget = {"c": point.costs["c"]}
        assert solve(problem.with_budgets(budget), ExactSolver()).loss == point.loss


def test_hull_of_many_groups_is_quick_and_close():
    """Where lists are hopeless, the hull has thousands of points and a small error."""
    problem = bitops_network(3000)
    hull = front(problem, ["c"], FrontSolver(), epsilon=0.01, points=20)
    assert hull.configurations[0] is not None
    table = priced(merge_ties(problem), "c").undominated()
    assert hull_front(table, None).epsilon < 0.01


@pytest.mark.parametrize("most", [4, 60, 500, 3000])
def test_long_lists_are_thinned_by_a_stated_error(most, monkeypatch):
    """Without a limit of one's own lists stay as short as is stated, at an error that holds."""
    problem = bitops_network()
    true = front(problem, ["c"], FrontSolver())
    monkeypatch.setattr(front_lists, "MOST_STATES", most)
    rough = front(problem, ["c"], FrontSolver())
    assert not rough.exact
    assert rough.epsilon > 0
    assert error_of(rough, true) <= rough.epsilon * (1 + 1e-9)
    assert rough.epsilon <= hull_front(
        priced(merge_ties(problem), "c").undominated(), None
    ).epsilon * (1 + 1e-9)


def test_all_lists_together_are_limited(monkeypatch):
    """Many layers leave each list a smaller share of the states."""
    monkeypatch.setattr(front_lists, "MOST_STATES_IN_ALL", 30_000)
    rough = front(bitops_network(), ["c"], FrontSolver())
    assert not rough.exact
    assert rough.epsilon < 0.02


def test_thinned_lists_bound_the_best_answer(monkeypatch):
    """The end of a thinned front comes with a bound that holds."""
    problem = correlated(40, 4)
    best = solve(problem, ExactSolver())
    monkeypatch.setattr(front_lists, "MOST_STATES", 300)
    short = solve(problem, FrontSolver())
    assert short.status is Status.FEASIBLE
    assert short.lower_bound <= best.loss <= short.loss


@pytest.mark.parametrize("largest", [5, 40_000])
def test_trail_finds_the_choices_back(largest):
    """States are followed back through all lists, whether choices are few or very many."""
    trail = Trail()
    trail.append(np.array([0, 0]), np.array([largest, 1]))
    trail.append(np.array([1, 0, 1]), np.array([2, largest, 3]))
    assert trail.choices(np.array([0, 1, 2, 1])).tolist() == [
        [1, 2], [largest, largest], [1, 3], [largest, largest],
    ]  # fmt: skip
    trail.append(np.array([2]), np.array([7]))
    assert trail.choices(np.array([0])).tolist() == [[1, 3, 7]]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(spread())
def test_an_exact_front_is_whole_however_far_losses_are_apart(problem):
    """Losses over hundreds of decades, or cancelling: no point is missing, to the last bit."""
    found, true = front(problem, ["c"], FrontSolver()), brute_force_front(problem, "c")
    assert found.exact
    assert found.cost_values[:, 0].tolist() == [int(cost) for cost, _ in true]
    assert found.losses.tolist() == [loss for _, loss in true]


def test_hull_bounds_the_best_answer():
    """Cut short, the end of the front comes with a bound that holds."""
    problem = correlated(40, 4)
    short = solve(problem, FrontSolver(), effort=Effort(states=3))
    best = solve(problem, ExactSolver())
    assert short.status is Status.FEASIBLE
    assert short.lower_bound <= best.loss <= short.loss


@FAST
@given(budgeted(sides=("all", "weight", "activation")))
def test_figures_of_many_selections_are_those_of_each(problem):
    """The vectorised figures meet `evaluate` on every selection."""
    problem = problem.with_budgets({})
    selections = np.stack([problem.choice_start[:-1]] * 2)
    while (broken := problem.broken_ties(selections[0])) and selections[
        0, 0
    ] < problem.choice_start[1] - 1:
        selections += 1
    if broken:
        return
    values, losses = front_figures(problem, "s", selections, ["c0"])
    evaluation = problem.evaluate(selections[0])
    assert losses.tolist() == [evaluation.loss] * 2
    assert values[0, 0] == float(evaluation.costs["c0"])


def test_a_front_that_lost_points_of_equal_loss_is_not_the_whole_one():
    """Two points that cost otherwise and lose the same: one alone is not exact and states no epsilon."""
    problem = AllocationProblem.from_layers(
        "equal",
        [
            LayerChoices(
                "only",
                (
                    Choice(Precision(1, 2), 0.0, {"c0": 0, "c1": 1}),
                    Choice(Precision(1, 3), 0.0, {"c0": 1, "c1": 0}),
                ),
            )
        ],
    )
    both, one = (front(problem, ["c0", "c1"], FrontSolver(), points=n) for n in (2, 1))
    assert (len(both), both.exact, both.epsilon) == (2, True, 0.0)
    assert (len(one), one.exact, one.epsilon) == (1, False, None)
