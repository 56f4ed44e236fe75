"""The exact solver: limits of effort, traps of scale, and a slow twin for larger problems."""

import bisect
import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.problems.budgets import Budget
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Effort, SolveSession
from bitwright.problems.solution import Status
from bitwright.search.door import solve
from bitwright.search.exact import ExactSolver
from bitwright.search.one_budget import core_search
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


def weights(n, largest, seed):
    """Take a thing or leave it, its weight being what it is worth: nothing tells good from bad."""
    weight = np.random.default_rng(seed).integers(1, largest, n)
    costs = np.stack([np.zeros_like(weight), weight], axis=1)
    return large(-costs.astype(float), costs, 0.5)


@pytest.mark.parametrize("n", [100, 1000, 10_000])
@pytest.mark.parametrize("largest", [10**3, 10**6, 10**9])
def test_worth_by_weight_fills_the_budget(n, largest):
    """Where every bound is useless, an answer that fills the budget is found, and is the best."""
    problem = weights(n, largest, n)
    solution = solve(problem, ExactSolver())
    assert solution.status is Status.OPTIMAL
    assert solution.loss == -int(problem.budgets["c"])


def best_sum(weights, most):
    """The largest sum of some weights that is at most `most`: all sums of either half, paired."""
    sums = [{0}, {0}]
    for i, weight in enumerate(weights):
        sums[i % 2] |= {s + weight for s in sums[i % 2]}
    ordered = sorted(s for s in sums[1] if s <= most)
    return max(
        s + ordered[bisect.bisect_right(ordered, most - s) - 1] for s in sums[0] if s <= most
    )


@pytest.mark.parametrize("largest", [10**9, 10**12, 10**15])
@pytest.mark.parametrize("states", [50, 1000, None])
def test_worth_by_weight_with_few_ways_to_fill(largest, states):
    """With too few answers to meet the budget, short lists leave a true gap and long ones none."""
    problem = weights(26, largest, 3)
    best = -best_sum(problem.costs["c"].units[1::2].tolist(), int(problem.budgets["c"]))
    solution = solve(problem, ExactSolver(), effort=Effort(states=states))
    assert solution.lower_bound <= best <= solution.loss
    assert solution.relative_gap < 1e-5
    if states is None:
        assert solution.status is Status.OPTIMAL
    if solution.status is Status.OPTIMAL:
        assert solution.loss == best


def test_the_states_end_where_nothing_can_be_proved(monkeypatch):
    """Without a limit of one's own the search ends by itself, and says what it could not prove."""
    monkeypatch.setattr(core_search, "MOST_STATES", 1000)
    problem = weights(60, 10**15, 1)
    solution = solve(problem, ExactSolver())
    assert solution.status is Status.FEASIBLE
    assert -int(problem.budgets["c"]) == pytest.approx(solution.lower_bound, rel=1e-12)
    assert 0 < solution.relative_gap < 1e-6
    assert solution.loss == pytest.approx(-solution.costs["c"], rel=1e-15)


@pytest.mark.parametrize("n", [50, 2000])
def test_a_unit_beside_a_large_number(n):
    """Costs of 10**12 and one unit more or less, worth what they cost: half of all, to the unit."""
    rng = np.random.default_rng(n)
    weight = 10**12 + rng.integers(-1, 2, n)
    costs = np.stack([np.zeros_like(weight), weight], axis=1)
    solution = solve(large(-costs.astype(float), costs, 0.5), ExactSolver())
    most = 10**12 * (n // 2) + int(np.sort(weight - 10**12)[-(n // 2) :].sum())
    assert solution.status is Status.OPTIMAL
    assert solution.loss == -min(most, int(weight.sum()) // 2)


def test_losses_that_are_counts_need_no_last_proof():
    """Among whole numbers an answer within less than one of the bound is the best."""
    rng = np.random.default_rng(0)
    costs = rng.integers(1, 1000, (20_000, 8))
    losses = (1000 - costs + rng.integers(-100, 101, costs.shape)).astype(float)
    solution = solve(large(losses, costs, 0.4), ExactSolver())
    assert solution.status is Status.OPTIMAL
    hundredths = solve(large(losses / 100, costs, 0.4), ExactSolver())
    assert hundredths.status is Status.OPTIMAL
    assert hundredths.loss == pytest.approx(solution.loss / 100, rel=1e-12)


def test_order_of_layers_changes_no_loss():
    """Shuffled layers, hard to tell apart, lead to the same loss."""
    problem = correlated(200, 4)
    losses, costs = problem.loss.reshape(200, 8), problem.costs["c"].units.reshape(200, 8)
    best = solve(problem, ExactSolver()).loss
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(200)
        assert solve(large(losses[order], costs[order], 0.4), ExactSolver()).loss == best


SPREAD = {
    "thirty decades": st.builds(lambda m, e: m * 10.0**e, st.sampled_from([-1.5, 1.0, 2.7]), st.integers(-15, 15)),
    "all decades": st.builds(lambda m, e: m * 10.0**e, st.sampled_from([-1.5, 1.0]), st.integers(-300, 290)),
    "cancelling": st.sampled_from([0.0, 1e20, -1e20, 1.0, -1.0, 0.5, 1e-3, 3e-3]),
    "beside a large number": st.integers(0, 8).map(lambda k: 1e15 + k / 8),
    "below all normal numbers": st.sampled_from([5e-324, 1e-310, 2.2e-308, 0.0, 1e-300, 1.0]),
    "whole numbers of 53 bits": st.integers(0, 2**53).map(float),
}  # fmt: skip


@st.composite
def spread(draw):
    """A small problem whose losses no 61-bit integers tell apart."""
    loss = SPREAD[draw(st.sampled_from(sorted(SPREAD)))]
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    losses, costs = (
        [draw(st.lists(kind, min_size=n, max_size=n)) for n in counts]
        for kind in (loss, st.integers(0, 5))
    )
    budget = {"c": draw(st.integers(0, 12))}
    return tabulated("spread", losses, {"c": costs}, budgets=budget)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(spread())
def test_optimal_is_true_however_far_losses_are_apart(problem):
    """Losses over hundreds of decades, or cancelling: what is called optimal is so to the last bit."""
    solution, best = solve(problem, ExactSolver()), brute_force(problem)
    if best is None:
        assert solution.status is Status.INFEASIBLE
        return
    assert solution.lower_bound <= best.loss <= solution.loss
    assert solution.status is Status.OPTIMAL
    assert solution.loss == best.loss


def test_memory_grows_with_the_choices():
    """A few layers with very many choices beside very many with two take no more than all alike."""
    rng = np.random.default_rng(0)
    counts = np.array([1000] * 20 + [2] * 20_000)
    size = int(counts.sum())
    problem = AllocationProblem(
        name="uneven",
        layers=tuple(f"l{i}" for i in range(len(counts))),
        choice_start=np.concatenate([[0], np.cumsum(counts)]),
        weight_bits=np.concatenate([np.arange(c) // 32 + 1 for c in counts]),
        activation_bits=np.concatenate([np.arange(c) % 32 + 1 for c in counts]),
        loss=rng.random(size),
        costs={"c": rng.integers(0, 10**6, size)},
        budgets={"c": 4 * 10**9},
    )
    tracemalloc.start()
    solution = ExactSolver().solve(problem, SolveSession(rng))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert solution.complete
    assert peak < 400 * size


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
