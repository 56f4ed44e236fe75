"""The dual bound of several rows equals the linear relaxation's, found by SciPy's HiGHS."""

import numpy as np
import pytest
from scipy.optimize import linprog

from bitwright.problems.precision import Precision
from bitwright.search.general.lagrangian_oracle import ModelOracle
from bitwright.search.general.modelling import model_of, whole_model
from bitwright.search.general.multipliers import best_multipliers
from bitwright.testing.known_cases import tabulated


def random_problem(seed, layers, choices, budgets, share=0.4):
    rng = np.random.default_rng(seed)
    shape = (layers, choices)
    costs = {f"c{k}": rng.integers(1, 1000, shape).tolist() for k in range(budgets)}
    widths = [[Precision(1 + j, 8) for j in range(choices)]] * layers
    loss = rng.uniform(-1, 1, shape).tolist()
    problem = tabulated("random", loss, costs, widths)
    limits = {}
    for name, table in costs.items():
        least, most = np.min(table, 1).sum(), np.max(table, 1).sum()
        limits[name] = int(least + share * (most - least))
    return problem.with_budgets(limits)


def linear_bound(problem):
    """The least loss over mixtures of choices; None where no mixture keeps the budgets."""
    choices = len(problem.loss)
    layer = np.repeat(np.arange(len(problem)), np.diff(problem.choice_start))
    one_each = (layer == np.arange(len(problem))[:, None]).astype(float)
    rows = np.array([problem.costs[name].floats() for name in problem.budgets])
    limits = [float(limit) for limit in problem.budgets.values()]
    found = linprog(
        problem.loss,
        A_ub=rows,
        b_ub=limits,
        A_eq=one_each,
        b_eq=np.ones(len(problem)),
        bounds=[(0, None)] * choices,
        method="highs",
    )
    return found.fun if found.status == 0 else None


@pytest.mark.parametrize("budgets", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("layers", [1, 5, 40])
def test_bound_is_that_of_the_linear_relaxation(budgets, layers):
    problem = random_problem(budgets * 100 + layers, layers, 6, budgets)
    oracle = ModelOracle(whole_model(problem))
    found = best_multipliers(oracle, oracle.limits)
    truth = linear_bound(problem)
    assert found.reachable == (truth is not None)
    if truth is not None:
        assert found.bound == pytest.approx(truth, abs=1e-7)
    assert (found.values >= 0).all()


def test_bound_holds_for_any_answer():
    problem = random_problem(7, 30, 5, 3)
    oracle = ModelOracle(model_of(problem))
    found = best_multipliers(oracle, oracle.limits)
    rng = np.random.default_rng(0)
    model = oracle.model
    for _ in range(200):
        options = model.start[:-1] + rng.integers(0, model.counts)
        relaxed = model.loss[options].sum()
        relaxed += found.values @ (model.units[:, options].sum(axis=1) - oracle.limits)
        assert relaxed >= found.bound - 1e-9


def test_limits_that_no_mixture_keeps_are_proved_so():
    rng = np.random.default_rng(3)
    size = rng.integers(1, 100, (8, 4))
    latency = 101 - size
    widths = [[Precision(1 + j, 8) for j in range(4)]] * 8
    tables = {"a": size.tolist(), "b": latency.tolist()}
    problem = tabulated("contrary", rng.uniform(0, 1, (8, 4)).tolist(), tables, widths)
    problem = problem.with_budgets({"a": 8 * 50, "b": 8 * 50})
    assert linear_bound(problem) is None
    oracle = ModelOracle(model_of(problem))
    found = best_multipliers(oracle, oracle.limits)
    assert not found.reachable
    assert oracle.proves_unreachable(found)
