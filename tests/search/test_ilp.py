"""The integer program: its answers hold exactly, its claims are no more than it can prove."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from bitwright.problems.errors import InputError, MissingDependencyError
from bitwright.problems.protocols import Effort
from bitwright.problems.solution import Status
from bitwright.search.door import solve
from bitwright.search.exact import ExactSolver
from bitwright.search.ilp import IlpSolver
from bitwright.testing.known_cases import tabulated
from tests.search.test_exact import correlated, large


@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("seed", [0, 1])
def test_large_costs(scale, seed):
    """Up to 1e15 and more, answers keep their budget to the unit and stay near the optimum."""
    rng = np.random.default_rng(seed)
    costs = rng.integers(1, 10**6, (40, 6)) * scale + rng.integers(0, 3, (40, 6))
    problem = large(rng.random((40, 6)), costs, 0.15)
    found, best = solve(problem, IlpSolver()), solve(problem, ExactSolver())
    assert best.status is Status.OPTIMAL
    assert found.lower_bound <= best.loss <= found.loss
    assert found.loss <= best.loss * (1 + 1e-3)


@pytest.mark.parametrize("budget", [3 * 10**15, 3 * 10**15 - 1])
def test_a_unit_of_1e15(budget):
    """What CBC cannot tell apart is cut off where it breaks the budget by a unit."""
    costs = [[0, 10**15], [0, 10**15], [0, 10**15], [0, 10**14]]
    problem = tabulated("unit", [[5, 0]] * 3 + [[1, 0]], {"c": costs}, budgets={"c": budget})
    solution = solve(problem, IlpSolver())
    assert solution.costs["c"] <= budget
    assert solution.loss == solve(problem, ExactSolver()).loss


def test_optimal_is_said_where_no_choice_is_better():
    """Without a binding budget every layer has its best choice, which is proof enough."""
    problem = correlated(20, 5)
    assert solve(problem.with_budgets({}), IlpSolver()).status is Status.OPTIMAL
    bound = solve(problem, IlpSolver())
    assert bound.status is Status.FEASIBLE
    assert 0 < bound.relative_gap < 1e-6


def test_stopped_early_is_not_called_optimal():
    """One node is not enough for a proof: there is an answer without its bound, or none."""
    hasty = solve(correlated(200, 6), IlpSolver(), effort=Effort(states=1, seconds=20))
    assert hasty.status in (Status.FEASIBLE, Status.STOPPED)


def test_no_files_are_left(tmp_path, monkeypatch, capfd):
    """The program writes into a folder that is gone afterwards, and prints nothing."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    solve(correlated(10, 7), IlpSolver())
    assert list(Path(tmp_path).iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_unknown_and_missing_solvers_of_pulp_are_named():
    """A mistyped name gets the nearest, a missing module the way to install it."""
    problem = correlated(5, 8)
    with pytest.raises(InputError, match="PuLP has no solver 'HIGHS'; did you mean 'HiGHS'"):
        solve(problem, IlpSolver(pulp_solver="HIGHS"))
    with pytest.raises(MissingDependencyError, match="PuLP finds no CPLEX_CMD on this machine"):
        solve(problem, IlpSolver(pulp_solver="CPLEX_CMD"))


def test_highs():
    """HiGHS does the same work where it is installed, and is asked for by name where not."""
    problem = correlated(10, 9)
    try:
        solution = solve(problem, IlpSolver(pulp_solver="HiGHS"))
    except MissingDependencyError as error:
        assert str(error) == "solver 'ilp' needs highspy: pip install highspy"  # noqa: PT017 - either
    else:
        assert solution.loss == pytest.approx(solve(problem, ExactSolver()).loss)
