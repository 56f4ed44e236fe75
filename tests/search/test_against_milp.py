"""On problems too large to try every configuration, our solvers are no worse than HiGHS and no better than true."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Effort
from bitwright.problems.solution import Status
from bitwright.problems.terms import Interaction
from bitwright.problems.ties import Tie
from bitwright.search.door import solve
from bitwright.testing.enumeration import enumerated
from tests.search.milp import milp_answer
from tests.search.random_problems import PAIRS, SIDES, budgeted
from tests.search.solvers import PROVERS, made

BITS = [(w, a) for w in (2, 4, 6, 8) for a in (4, 8)]
FAMILIES = ("network", "uncorrelated", "correlated")


def mid_size(seed, traits):
    """Twenty to sixty layers of four to eight choices, with what the traits take; it has an answer."""
    random = np.random.default_rng(seed)
    n, j = int(random.integers(20, 61)), int(random.integers(4, 9))
    count = int(random.integers(1, 4)) if traits.several_budgets else 1
    losses, costs = _figures(random, FAMILIES[seed % 3], n, j, count)
    names = [f"layer{i}" for i in range(n)]
    linked = traits.pairwise and seed % 2 == 1
    problem = AllocationProblem(
        name=f"mid-size {seed}",
        layers=names,
        choice_start=np.arange(n + 1) * j,
        weight_bits=np.tile([w for w, _ in BITS[:j]], n),
        activation_bits=np.tile([a for _, a in BITS[:j]], n),
        loss=losses.ravel(),
        costs={f"c{k}": table.ravel() for k, table in enumerate(costs)},
        ties=_ties(random, names, SIDES if traits.side_ties else SIDES[:1]),
        interactions=_chain(random, names, losses, costs) if linked else (),
    )
    return problem.with_budgets(_reachable(random, problem))


def _figures(random, family, n, j, count):
    """Losses (N, J) and one table of costs (N, J) per budget."""
    if family == "network":
        bits = np.array(BITS[:j])
        noise = 4.0 ** -bits[:, 0] + 4.0 ** -bits[:, 1]
        losses = 10 ** random.uniform(-3, 1, (n, 1)) * noise * random.uniform(0.8, 1.2, (n, j))
        macs, weights = random.integers(10**5, 10**8, (n, 1)), random.integers(10**3, 10**6, (n, 1))
        latencies = random.uniform(0.1, 2, (n, 1)) * bits.sum(1) * random.uniform(0.9, 1.1, (n, j))
        tables = [macs * bits.prod(1), weights * bits[:, 0], latencies.round(4)]
        return losses, [tables[k] for k in random.permutation(3)[:count]]
    costs = [np.sort(random.integers(1, 10**4, (n, j)), axis=1) for _ in range(count)]
    losses = random.random((n, j))
    if family == "correlated":
        losses += 3 - sum(costs) / (count * 10**4) * 3
    return losses, costs


def _ties(random, names, sides):
    """A few ties, of neighbours or not, no layer in two of them."""
    shuffled = random.permutation(names).tolist()
    groups = [shuffled[3 * k : 3 * k + int(random.integers(2, 4))] for k in range(4)]
    return [Tie(tuple(g), str(random.choice(sides))) for g in groups[: int(random.integers(0, 5))]]


def _chain(random, names, losses, costs):
    """Terms between neighbours in the loss, and in some also a conversion cost."""
    terms, j = [], losses.shape[1]
    for a, b in pairwise(names):
        loss = random.normal(0, np.abs(losses).mean() / 4, (j, j)).round(6)
        step = int(np.median(costs[0])) // 20 or 1
        conversion = step * np.abs(np.arange(j)[:, None] - np.arange(j))
        extra = {"c0": conversion.tolist()} if random.random() < 0.3 else {}
        terms.append(Interaction((a, b), tuple(map(tuple, loss.tolist())), extra))
    return terms


def _reachable(random, problem):
    """Budgets between what a configuration that keeps the ties takes and what the dearest does."""
    choice = random.integers(0, max(len(problem.span(0)) // 2, 1))
    figures = problem.evaluate(problem.choice_start[:-1] + choice).costs
    return {name: cost * int(random.integers(100, 140)) / 100 for name, cost in figures.items()}


def proved(problem, solver):
    """Whether the answer is proved, once it is checked against HiGHS's answer and bound."""
    solution, other = solve(problem, solver, effort=Effort(seconds=60)), milp_answer(problem)
    assert solution.configuration is not None
    rounding = 1e-12 * float(np.abs(problem.loss).sum())
    assert solution.loss >= other.bound - rounding
    evaluation = problem.evaluate(other.selection)
    if not evaluation.over_budget(problem.budgets) and not problem.broken_ties(other.selection):
        assert solution.lower_bound <= evaluation.loss + rounding
        if solution.status is Status.OPTIMAL:
            assert solution.loss <= evaluation.loss + rounding
    return solution.status is Status.OPTIMAL


@pytest.mark.parametrize("name", PROVERS)
def test_a_few(name):
    """A dozen problems of all kinds that the solver takes, each proved."""
    solver = made(name)
    problems = [mid_size(seed, solver.traits) for seed in range(12)]
    assert [p.name for p in problems if not proved(p, solver)] == []


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 600, 50))
def test_five_hundred(start):
    """Five hundred problems, each proved."""
    solver = made("exact")
    problems = [mid_size(seed, solver.traits) for seed in range(start, start + 50)]
    assert [p.name for p in problems if not proved(p, solver)] == []


@settings(max_examples=40, deadline=None, derandomize=True)
@given(budgeted(costs=2, sides=SIDES, same_lists=False, pairs=PAIRS, peaks=True))
def test_the_integer_program_is_the_problem(problem):
    """On small problems HiGHS comes to what trying every configuration finds, within tolerances."""
    answer, least = milp_answer(problem), enumerated(problem).least_loss()
    if least is not None:
        assert answer.selection is not None
        assert answer.bound <= least
