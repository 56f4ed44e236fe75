"""The door judges every answer itself and refuses by name what a solver does not take."""

import itertools
import math
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from bitwright.problems.budgets import Budget
from bitwright.problems.errors import (
    InputError,
    MissingDependencyError,
    UnsupportedProblemError,
    UntrueAnswerError,
)
from bitwright.problems.precision import Precision
from bitwright.problems.protocols import FrontProposal, SolverTraits
from bitwright.problems.solution import Status
from bitwright.problems.terms import Interaction, Peak
from bitwright.problems.ties import Tie
from bitwright.search.door import front, solve
from bitwright.search.exact import ExactSolver
from bitwright.search.front import FrontSolver
from bitwright.search.ilp import IlpSolver
from bitwright.testing.known_cases import tabulated
from tests.search.liars import Says

LOSSES = [[9, 4, 1], [8, 5, 4], [3, 2, 0]]
SIZES = [[1, 2, 3], [1, 2, 4], [1, 3, 5]]
TIMES = [[0.1, 0.2, 0.3], [0.1, 0.2, 0.4], [0.1, 0.3, 0.5]]
PEAK = Peak("peak_bytes", ({"layer0": 2},))
WIDTHS = [[Precision(2, 8), Precision(4, 8), Precision(8, 16)]] * 3
BEST = [2, 4, 6]  # the best selection within 7 bits


def toy(**terms):
    costs = {"size_bits": SIZES, "latency_ms": TIMES}
    return tabulated("toy", LOSSES, costs, **terms)


def within(*texts):
    return [Budget.parse(text) for text in texts]


def test_loss_costs_and_slack_are_recomputed():
    """A solution says what its configuration takes, whatever the solver thinks."""
    solution = solve(toy(), Says(BEST, bound=9.0), budgets=within("size_bits=7"))
    assert solution.status is Status.OPTIMAL
    assert (solution.loss, solution.lower_bound, solution.gap) == (9, 9, 0)
    assert solution.costs == {"size_bits": 6, "latency_ms": 0.6}
    assert solution.slack == {"size_bits": 1}
    assert solution.version


@pytest.mark.parametrize(
    ("solver", "status", "bound"),
    [
        (Says(BEST), Status.FEASIBLE, -math.inf),
        (Says(BEST, bound=9.0), Status.OPTIMAL, 9),
        (Says(BEST, exact=False), Status.FEASIBLE, -math.inf),
        (Says(BEST, complete=False, bound=8.5), Status.FEASIBLE, 8.5),
        (Says(BEST, complete=True, bound=8.999), Status.FEASIBLE, 8.999),
        (Says(BEST, complete=False, bound=9 + 1e-13), Status.FEASIBLE, 9),
        (Says(None, complete=False), Status.STOPPED, -math.inf),
        (Says(None, complete=True, exact=False), Status.STOPPED, -math.inf),
    ],
)
def test_status(solver, status, bound):
    """Optimal takes an exact solver, a complete search and a bound that fits."""
    solution = solve(toy(), solver, budgets=within("size_bits=7"))
    assert (solution.status, solution.lower_bound) == (status, bound)


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (Says([2, 5, 8]), r"'says' broke budget 'size_bits': 12 is 5 over 7"),
        (Says([2, 4, 9]), r"'says' proposed choice 9 for layer 'layer2', which has choices 6 to 8"),
        (Says([2, 4]), r"one choice index for each of the 3 layers, got int64 of shape \(2,\)"),
        (Says([2.0, 4.0, 6.0]), "got float64 of shape"),
        (Says(BEST, bound=9.1), r"claims that no loss is below 9\.1, but its own answer has 9"),
        (Says(BEST, bound=math.nan), "gave NaN as its lower bound"),
        (Says(None), "claims that no configuration meets size_bits, but the cheapest one does"),
    ],
)
def test_untrue_answers_are_refused(solver, message):
    """What does not hold becomes an error that names the solver, never a solution."""
    with pytest.raises(UntrueAnswerError, match=message):
        solve(toy(), solver, budgets=within("size_bits=7"))


def test_broken_tie_is_refused():
    """An answer has to respect the ties."""
    with pytest.raises(UntrueAnswerError, match=r"broke the tie of \['layer0', 'layer2'\]"):
        solve(toy(ties=[Tie(("layer0", "layer2"))]), Says(BEST))


def test_nothing_can_be_infeasible_without_a_budget():
    """A problem without budgets always has an answer."""
    with pytest.raises(UntrueAnswerError, match="meets no budget, but the cheapest one does"):
        solve(toy(), Says(None))


@pytest.mark.parametrize(
    ("terms", "budgets", "message"),
    [
        ({}, ["size_bits=7", "latency_ms=0.5"],
         r"'says' takes one budget at a time, got \['latency_ms', 'size_bits'\]; solver 'exact' takes "
         r"several \(trait 'several_budgets'\)"),
        ({"ties": [Tie(("layer0", "layer1"), "weight")]}, [],
         r"takes no ties of one side, got 1; solver 'exact' takes them \(trait 'side_ties'\)"),
        ({"interactions": [Interaction(("layer0", "layer1"), [[0.0] * 3] * 3)]}, [],
         r"takes no pairwise terms, got 1; solver 'exact' takes them \(trait 'pairwise'\)"),
        ({"peaks": [PEAK]}, ["peak_bytes=20"],
         r"takes no peak costs, got a budget for \['peak_bytes'\]; solver 'exact' takes them"),
    ],
)  # fmt: skip
def test_unsupported(terms, budgets, message):
    """What the traits do not take is refused before the solver is asked."""
    problem = tabulated("p", LOSSES, {"size_bits": SIZES, "latency_ms": TIMES}, WIDTHS, **terms)
    with pytest.raises(UnsupportedProblemError, match=message):
        solve(problem, Says(BEST), budgets=within(*budgets))


def test_peaks_that_cannot_bind_are_no_obstacle():
    """A peak below its budget in every configuration needs no solver that knows peaks."""
    problem = toy(peaks=[PEAK])
    assert solve(problem, ExactSolver(), budgets=within("peak_bytes=16")).costs["peak_bytes"] == 16
    below = solve(problem, ExactSolver(), budgets=within("peak_bytes=15"))
    assert below.status is Status.INFEASIBLE


def test_slack_budgets_are_no_obstacle():
    """A budget that no configuration breaks does not count against a solver of one budget."""
    solution = solve(toy(), ExactSolver(), budgets=within("size_bits=7", "latency_ms=1.2"))
    assert solution.status is Status.OPTIMAL
    assert solution.slack == {"size_bits": 1, "latency_ms": 0.6}


def test_objective_is_asked_for():
    """A solver that evaluates a network needs something that evaluates it."""
    with pytest.raises(
        UnsupportedProblemError, match="'says' needs a measured objective, got none"
    ):
        solve(toy(), Says(BEST, evaluates=True))


def test_missing_module_is_named():
    """A module that is not installed is named with the way to install it."""
    with pytest.raises(MissingDependencyError, match="'says' needs no_such: pip install no_such"):
        solve(toy(), Says(BEST, needs=("no_such",)))


def test_given_budgets_replace_those_of_the_problem():
    """The problem's budgets hold unless one of the same name is given."""
    problem = toy(budgets={"size_bits": 3})
    assert solve(problem, ExactSolver()).loss == 20
    assert solve(problem, ExactSolver(), budgets=within("size_bits=7")).loss == 9
    one_of_each = solve(problem, IlpSolver(), budgets=within("latency_ms=0.4"))
    assert one_of_each.budgets == {"size_bits": 3, "latency_ms": 0.4}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["size_bits=7", "size_bits=8"], "budget 'size_bits' is given twice"),
        (["size_bit=7"], "budget for unknown cost 'size_bit'; did you mean 'size_bits'"),
    ],
)
def test_bad_budgets(texts, message):
    """Budgets are refused by name."""
    with pytest.raises(InputError, match=message):
        solve(toy(), ExactSolver(), budgets=within(*texts))


def test_shares_are_exact():
    """Half of the way from 3.3 to 12.3, fixed cost included, is 7.8 and not a bit less."""
    problem = toy(fixed_costs={"size_bits": Fraction(3, 10)})
    solution = solve(problem, ExactSolver(), budgets=within("size_bits=50%"))
    assert solution.budgets == {"size_bits": 7.8}
    tied = toy(ties=[Tie(("layer0", "layer2"))])
    assert solve(tied, ExactSolver(), budgets=within("size_bits=0%")).costs["size_bits"] == 3


def test_infeasible_alone_is_said_before_any_solver_runs():
    """The least reachable total and the miss are named for every budget; the solver is not asked."""
    solution = solve(toy(), Says(BEST), budgets=within("size_bits=2", "latency_ms=0.25"))
    assert solution.status is Status.INFEASIBLE
    assert solution.explanation == (
        "budget 'size_bits' = 2 cannot be met: the least that any configuration takes is 3, 1 more, "
        "with every layer at w1a8; "
        "budget 'latency_ms' = 0.25 cannot be met: the least that any configuration takes is 0.3, "
        "0.05 more, with every layer at w1a8"
    )


def test_sweep_of_a_solver_without_front():
    """Solvers without a front are swept over budgets; nothing is proved about the gaps."""
    swept = front(toy(), ["size_bits"], IlpSolver(), points=4)
    assert not swept.exact
    assert swept.epsilon is None
    assert swept.cost_values[:, 0].tolist() == [3, 6, 8, 12]
    assert (
        swept[1].configuration
        == solve(toy(), ExactSolver(), budgets=within("size_bits=6")).configuration
    )
    both = front(toy(), ["size_bits", "latency_ms"], IlpSolver(), budgets=within("latency_ms=0.9"))
    assert both.cost_values.shape[1] == 2
    assert both.cost_values[:, 1].max() <= 0.9
    assert both.configurations == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"costs": []}, "one or more different costs"),
        ({"costs": ["size"]}, "unknown cost 'size'; did you mean 'size_bits'"),
        ({"points": 0}, "points must be 1 or more, got 0"),
        ({"epsilon": -0.1}, "epsilon must be from 0 to below 1, got -0.1"),
        (
            {"costs": ["peak_bytes"]},
            "the peak cost 'peak_bytes' is only found by a sweep of budgets",
        ),
    ],
)
def test_bad_front_requests(arguments, message):
    """What cannot be drawn is refused by name."""
    request = {"costs": ["size_bits"], **arguments}
    with pytest.raises(InputError, match=message):
        front(toy(peaks=[PEAK]), request.pop("costs"), FrontSolver(), **request)


def test_front_without_feasible_configuration_is_empty():
    """Budgets that nothing meets leave an empty front."""
    empty = front(toy(), ["size_bits"], FrontSolver(), budgets=within("latency_ms=0.1"))
    assert len(empty) == 0


class LyingFront:
    """A front solver whose figures are wrong and whose last point breaks the budget."""

    name = "lying"
    traits = SolverTraits(exact=True)

    def __init__(self, selections):
        self._selections = np.array(selections)

    def solve(self, problem, session):
        raise NotImplementedError

    def front(self, problem, costs, session, epsilon=0.0):
        count = len(self._selections)
        return FrontProposal(
            np.arange(count)[:, None], -np.arange(float(count)), lambda p: self._selections[p], True
        )


def test_points_of_a_front_are_recomputed():
    """Figures of a front are the problem's, dominated points fall out, broken budgets are errors."""
    honest = front(toy(), ["size_bits"], LyingFront([[0, 3, 6], BEST, [1, 4, 7]]))
    assert honest.cost_values[:, 0].tolist() == [3, 6]
    assert honest.losses.tolist() == [20, 9]
    with pytest.raises(UntrueAnswerError, match="'lying' broke budget 'size_bits': 12 is 5 over 7"):
        front(toy(budgets={"size_bits": 7}), ["size_bits"], LyingFront([BEST, [2, 5, 8]]))


def test_exact_solving_imports_numpy_alone():
    """Neither numba, scipy, pulp, networkx nor torch is loaded by the room or a small exact solve."""
    code = (
        "import sys\n"
        "from bitwright.search.door import solve\n"
        "from bitwright.search.exact import ExactSolver\n"
        "from bitwright.search.ilp import IlpSolver\n"
        "from bitwright.problems import *\n"
        "p = AllocationProblem.from_layers('p', [LayerChoices('a', ("
        "Choice(Precision(2, 8), 2.0, {'s_bits': 1}), Choice(Precision(4, 8), 1.0, {'s_bits': 2})))])\n"
        "IlpSolver()\n"
        "print(solve(p, ExactSolver(), budgets=[Budget.parse('s_bits=50%')]).loss)\n"
        "print(sorted({'numba', 'scipy', 'pulp', 'networkx', 'torch'} & set(sys.modules)))\n"
    )
    without = {name: value for name, value in os.environ.items() if name != "BITWRIGHT_NUMBA"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=without
    )
    assert run.stdout.split("\n")[:2] == ["2.0", "[]"]


def test_a_front_over_two_costs_is_swept_over_both():
    """The points found stand for true ones, and the cheapest in each cost is among them."""
    random = np.random.default_rng(4)
    losses, one, two = random.random((3, 4, 3))
    problem = tabulated("two", losses.tolist(), {"a": one.tolist(), "b": two.tolist()})
    found = front(problem, ["a", "b"], IlpSolver())
    for cost, column in (("a", one), ("b", two)):
        least = column.min(axis=1).sum()
        assert min(p.costs[cost] for p in found) == pytest.approx(least)
    every = [problem.evaluate(np.array(s)) for s in itertools.product(*map(problem.span, range(4)))]
    figures = [(float(e.costs["a"]), float(e.costs["b"]), e.loss) for e in every]
    for point in found:
        mine = (point.costs["a"], point.costs["b"], point.loss)
        assert not any(all(f <= m - 1e-9 for f, m in zip(f, mine, strict=True)) for f in figures)


def test_ties_of_one_side_that_contradict_are_named():
    """Two ties that leave two layers nothing in common are refused by name, with a budget or without."""
    bits = [[Precision(2, 4), Precision(4, 8)], [Precision(2, 8), Precision(4, 4)]]
    ties = [Tie(("layer0", "layer1"), "weight"), Tie(("layer0", "layer1"), "activation")]
    problem = tabulated("torn", [[1.0, 2.0]] * 2, {"c": [[1, 2]] * 2}, bits, ties=ties)
    for asked in (problem, problem.with_budgets({"c": 3})):
        with pytest.raises(InputError, match=r"layers \['layer0', 'layer1'\] contradict|common"):
            solve(asked, ExactSolver())
