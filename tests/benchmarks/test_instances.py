"""Benchmark problems are the same everywhere, and what their families promise."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.instances import COSTS, FAMILIES, Spec, problem_of
from bitwright.problems.solution import Status
from bitwright.search.door import solve
from bitwright.search.exact import ExactSolver

SPECS = [
    *(Spec(family, 12, 8, budgets=k, seed=3) for family in FAMILIES for k in (0, 1, 3)),
    Spec("network", 12, 4, linked=True),
]
each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def digest(spec):
    """A hash over all numbers of a problem."""
    problem = problem_of(spec)
    parts = [problem.loss, *(problem.costs[name].units for name in problem.costs)]
    parts += [np.array(term.loss) for term in problem.interactions]
    figures = b"".join(part.tobytes() for part in parts) + repr(problem.budgets).encode()
    return hashlib.sha256(figures).hexdigest()


def test_another_process_makes_the_same_problems():
    """Nothing depends on the process or on what was made before."""
    code = (
        "from tests.benchmarks.test_instances import SPECS, digest; "
        "print('DIGESTS', *map(digest, SPECS[::-1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rpartition("DIGESTS ")[2].split()[::-1] == [digest(s) for s in SPECS]


@each_spec
def test_shape_and_budgets(spec):
    """Layers, choices, costs and budgets are those asked for; another seed gives other numbers."""
    problem = problem_of(spec)
    assert np.diff(problem.choice_start).tolist() == [spec.choices] * spec.layers
    assert tuple(problem.budgets) == COSTS[: spec.budgets]
    assert digest(spec) != digest(Spec(**{**spec.document(), "seed": 4}))


@pytest.mark.parametrize("family", FAMILIES)
def test_budgets_bind_and_can_be_met(family):
    """There is an answer, and it is worse than without a budget."""
    problem = problem_of(Spec(family, 8, 4))
    solution = solve(problem, ExactSolver())
    assert solution.status is Status.OPTIMAL
    assert solution.loss > solve(problem.with_budgets({}), ExactSolver()).loss


def test_losses_of_a_network_fall_with_the_bits():
    """With two bits more on one side the loss falls, and the bit-operations rise."""
    problem = problem_of(Spec("network", 50, 16))
    by_bits = (50, 4, 4)  # layer, weight bits, activation bits
    assert (np.diff(problem.loss.reshape(by_bits), axis=1) < 0).mean() > 0.9
    assert (np.diff(problem.costs["bitops"].units.reshape(by_bits), axis=2) > 0).all()


def test_subset_sums_lie_on_one_line():
    """Loss and cost add up to the same for all choices, so that no choice is better value."""
    problem = problem_of(Spec("subset-sum", 20))
    assert len(set((problem.loss + problem.costs["bitops"].units).tolist())) == 1
