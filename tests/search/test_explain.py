"""Infeasible budgets are explained, and nothing is called proved that is not."""

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from bitwright.problems.solution import Status
from bitwright.problems.terms import Peak
from bitwright.search.door import solve
from bitwright.search.explain import contradiction, worded
from bitwright.search.ilp import IlpSolver
from bitwright.search.rows import budget_rows
from bitwright.testing.brute_force import brute_force, feasible
from bitwright.testing.known_cases import tabulated
from tests.search.random_problems import budgeted

SWAP = {"a_us": [[1, 3]] * 4, "b_uj": [[3, 1]] * 4}


def swap(a, b):
    """Four layers that each cost 1 and 3, or 3 and 1: together always 4 a layer."""
    return tabulated("swap", [[0, 0]] * 4, SWAP, budgets={"a_us": a, "b_uj": b})


def test_multipliers_prove_the_contradiction():
    """Sixteen in all cannot be met with seven and eight."""
    problem = swap(7, 8)
    proof = contradiction(problem)
    assert proof.least > 1
    assert sum(proof.weights) == 1
    for _, evaluation in feasible(problem.with_budgets({})):
        shares = [evaluation.costs[r.cost] / problem.budgets[r.cost] for r in budget_rows(problem)]
        assert sum(w * s for w, s in zip(proof.weights, shares, strict=True)) >= proof.least
    text = worded(problem, proof)
    assert "budgets 'a_us' and 'b_uj' can each be met, but not together" in text
    figures = re.search(r"([\d.]+) x a_us / 7 \+ ([\d.]+) x b_uj / 8 is at least ([\d.]+)", text)
    assert float(figures[3]) > 1


def test_feasible_in_parts_of_layers_only_is_not_called_proved():
    """Half a layer each way would do: no multipliers exist, and the text says so."""
    problem = swap(7, 9)
    assert brute_force(problem) is None
    assert contradiction(problem) is None
    solution = solve(problem, IlpSolver())
    assert solution.status is Status.STOPPED
    assert "'a_us' and 'b_uj' was found; that there is none is not proved" in solution.explanation


def test_feasible_budgets_have_no_contradiction():
    """Budgets that some configuration meets exactly have no proof against them."""
    assert contradiction(swap(8, 8)) is None
    assert contradiction(swap(16, 16)) is None


def test_peak_against_a_sum():
    """A step of a peak is a row like any other."""
    problem = tabulated(
        "p", [[0, 0]], {"c": [[9, 9]]}, budgets={"c": 9, "peak": 15},
        peaks=[Peak("peak", ({"layer0": Fraction(1)}, {"layer0": Fraction(2)}))],
    )  # fmt: skip
    rows = budget_rows(problem)
    assert [row.label for row in rows] == ["c", "step 0 of peak", "step 1 of peak"]
    assert [row.limit for row in rows] == [9, 15, 15]
    assert rows[2].units.tolist() == [16, 16]
    assert contradiction(problem) is not None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(budgeted(costs=3, max_layers=3))
def test_no_false_proof(problem):
    """Where brute force finds a configuration, no multipliers are offered."""
    if brute_force(problem) is not None:
        assert contradiction(problem) is None


def test_many_budgets():
    """Multipliers are found for more budgets than two."""
    rng = np.random.default_rng(0)
    costs = {f"c{k}": np.eye(4)[k] * 9 + 1 for k in range(4)}
    tables = {n: np.tile(row, (20, 1)).astype(int).tolist() for n, row in costs.items()}
    losses = rng.random((20, 4)).tolist()
    tight = tabulated("p", losses, tables, budgets=dict.fromkeys(tables, 60))
    assert contradiction(tight).least == pytest.approx(65 / 60, rel=0.01)
    assert contradiction(tight.with_budgets(dict.fromkeys(tables, 65))) is None
