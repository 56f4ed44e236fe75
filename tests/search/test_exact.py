"""The exact solver: limits of effort, traps of scale, and a slow twin for larger problems."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from bitwright.problems.budgets import Budget
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Effort
from bitwright.problems.solution import Status
from bitwright.search.door import solve
from bitwright.search.exact import ExactSolver
from bitwright.testing.brute_force import brute_force
from bitwright.testing.known_cases import tabulated

CONFIGS = Path(__file__).parents[2] / "configs"


def large(losses, costs, share=None):
    """A problem of one cost from arrays of shape (N, J), with a budget at a share of its range."""
    n, j = losses.shape
    low, high = int(costs.min(1).sum()), int(costs.max(1).sum())
    return AllocationProblem(
        name="large",
        layers=tuple(f"l{i}" for i in range(n)),
        choice_start=np.arange(n + 1) * j,
        weight_bits=np.tile(np.arange(1, j + 1), n),
        activation_bits=np.full(n * j, 8),
        loss=losses.ravel(),
        costs={"c": costs.ravel()},
        budgets={} if share is None else {"c": low + int((high - low) * share)},
    )


def correlated(n, seed, j=8):
    """Losses that all but add up with the costs: the hard kind."""
    rng = np.random.default_rng(seed)
    costs = np.sort(rng.integers(1, 10**6, (n, j)), axis=1)
    return large((10**6 - costs + rng.integers(-(10**4), 10**4, (n, j))) / 1e6, costs, 0.4)


def least_loss_by_plain_dynamic_program(losses, costs, budget):
    """Least integer loss for every integer budget, one layer after the other."""
    best = np.zeros(budget + 1, dtype=np.int64)
    for loss, cost in zip(losses, costs, strict=True):
        after = np.full(budget + 1, 2**60)
        for one_loss, one_cost in zip(loss, cost, strict=True):
            if one_cost <= budget:
                taken = best[: budget + 1 - one_cost] + one_loss
                after[one_cost:] = np.minimum(after[one_cost:], taken)
        best = after
    return int(best[budget])


@pytest.mark.parametrize("seed", range(8))
def test_meets_a_plain_dynamic_program(seed):
    """Forty layers, small integer costs, losses over eight decades."""
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 60, (40, 6))
    losses = np.rint(10 ** rng.uniform(0, 8, (40, 6)) * rng.choice([-1, 1], (40, 6)))
    problem = large(losses, costs, 0.3)
    budget = int(problem.budgets["c"])
    solution = solve(problem, ExactSolver())
    assert solution.status is Status.OPTIMAL
    assert solution.loss == least_loss_by_plain_dynamic_program(
        losses.astype(np.int64), costs, budget
    )


@pytest.mark.parametrize("scale", [10**6, 10**9, 10**12, 10**15])
@pytest.mark.parametrize("missing", [0, 1])
def test_one_unit_decides(scale, missing):
    """The attractive configuration fits exactly, and is out of reach one unit below."""
    losses = [[10, 0], [10, 1], [10, 2], [9, 8]]
    costs = [[0, scale], [0, scale + 1], [1, scale - 1], [0, 1]]
    budget = 3 * scale - missing
    problem = tabulated("unit", losses, {"c": costs}, budgets={"c": budget})
    solution, best = solve(problem, ExactSolver()), brute_force(problem)
    assert solution.loss == best.loss
    assert (solution.loss == 12) == (missing == 0)
    assert solution.costs["c"] <= budget


@pytest.mark.parametrize("states", [1, 5, 50])
def test_few_states_leave_a_gap_that_holds(states):
    """With short lists the answer is feasible, and the optimum lies within its gap."""
    problem = correlated(60, 1)
    best = solve(problem, ExactSolver())
    some = solve(problem, ExactSolver(), effort=Effort(states=states))
    assert some.lower_bound <= best.loss <= some.loss
    assert some.relative_gap < 1e-3
    again = solve(problem, ExactSolver(), effort=Effort(states=states))
    assert (again.configuration, again.lower_bound) == (some.configuration, some.lower_bound)


def test_no_time_leaves_a_gap_that_holds():
    """Out of time, the relaxation's own answer and bound are given."""
    problem = correlated(60, 2)
    best = solve(problem, ExactSolver())
    hasty = solve(problem, ExactSolver(), effort=Effort(seconds=1e-9))
    assert hasty.status is Status.FEASIBLE
    assert hasty.lower_bound <= best.loss <= hasty.loss


def test_alike_layers_are_quick():
    """Thousands of layers with the same choices do not make thousands of long lists."""
    costs, losses = np.tile(np.arange(8), (5000, 1)), np.tile(np.arange(8)[::-1] * 0.1, (5000, 1))
    started = time.perf_counter()
    solution = solve(large(losses, costs, 0.37), ExactSolver())
    assert time.perf_counter() - started < 5
    assert solution.status is Status.OPTIMAL
    assert solution.loss == pytest.approx(5000 * 0.7 - int(5000 * 7 * 0.37) * 0.1)


@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_scale_and_offset_of_losses_change_nothing(factor):
    """Losses times a factor, or a constant per layer more, lead to the same configuration."""
    problem = correlated(30, 3)
    losses = problem.loss.reshape(30, 8)
    costs = problem.costs["c"].units.reshape(30, 8)
    expected = solve(problem, ExactSolver()).configuration
    offset = np.arange(30)[:, None] * 0.5
    for changed in (losses * factor, losses + offset):
        assert solve(large(changed, costs, 0.4), ExactSolver()).configuration == expected


@pytest.mark.parametrize("cost", ["latency_ms", "size_bits", "bitops"])
@pytest.mark.parametrize("share", ["25%", "50%", "75%"])
def test_published_configurations_of_hawq_v3(cost, share):
    """HAWQ-V3's published ResNet18 bits come out bit for bit, for every cost and share."""
    from bitwright.problems.formats import read_problem

    problem = read_problem(CONFIGS / "resnet18_t4.json")
    published = json.loads((Path(__file__).parent / "hawq_v3_resnet18.json").read_text())
    solution = solve(problem, ExactSolver(), budgets=[Budget.of(cost, share)])
    assert solution.status is Status.OPTIMAL
    bits = [p.weight_bits for p in solution.configuration.values()]
    assert bits == published["bits"][f"{cost}={share}"]
