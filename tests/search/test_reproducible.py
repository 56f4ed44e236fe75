"""Same input and seed, same answer: in other processes, after permuting, and after a detour."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.problems.problem import AllocationProblem, LayerChoices
from bitwright.problems.protocols import Effort, HasFront
from bitwright.problems.terms import Interaction
from bitwright.search.door import front, solve
from bitwright.testing.known_cases import KNOWN_CASES
from tests.search.random_problems import problems_for
from tests.search.solvers import PROVERS, REGISTERED, made
from tests.search.test_against_milp import mid_size

SEEDS = (0, 3, 4)
STATES = Effort(states=2000)
each_solver = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n == "ilp" else []) for n in REGISTERED],
)


def answers(name):
    """What a solver says of known cases and mid-size problems, as plain values."""
    solver = made(name)
    cases = [case.problem for case in KNOWN_CASES if case.suits(solver.traits)][::4]
    cases += [mid_size(seed, solver.traits) for seed in SEEDS]
    said = []
    for problem in cases:
        solution = solve(problem, solver, seed=11, effort=STATES)
        bits = solution.configuration and [p.label for p in solution.configuration.values()]
        said.append([problem.name, str(solution.status), bits, solution.lower_bound])
        said[-1].append(solution.explanation)
    if isinstance(solver, HasFront):
        found = front(cases[0].with_budgets({}), cases[0].cost_names[:1], solver, points=5, seed=11)
        said.append([[p.loss, *p.configuration.items()] for p in found])
    return json.loads(json.dumps(said, default=str))


@each_solver
def test_same_answer_in_another_process(name):
    """A process with another hash seed and other threads says what this one says."""
    if made(name).traits.evaluates:
        pytest.skip("it needs a measured objective")
    code = "import json, sys; from tests.search.test_reproducible import answers; "
    code += "print('ANSWERS', json.dumps(answers(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        env={**os.environ, "PYTHONHASHSEED": "424242", "OMP_NUM_THREADS": "2"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout.rpartition("ANSWERS ")[2]) == answers(name)


def permuted(problem, order, seed):
    """The problem with its layers, each layer's choices, ties, terms and costs in another order."""
    random = np.random.default_rng(seed)
    turns = {name: random.permutation(len(problem.span(name))) for name in problem.layers}
    layers = [
        LayerChoices(problem.layers[i], [problem.choices(i)[k] for k in turns[problem.layers[i]]])
        for i in order
    ]
    terms = [_permuted_term(term, turns) for term in problem.interactions]
    return AllocationProblem.from_layers(
        problem.name, layers,
        ties=[*problem.ties][::-1], interactions=terms[::-1], peaks=problem.peaks[::-1],
        fixed_costs=problem.fixed_costs, budgets=dict([*problem.budgets.items()][::-1]),
    )  # fmt: skip


def _permuted_term(term, turns):
    a, b = (turns[name] for name in term.layers)
    costs = {name: [[m[r][c] for c in b] for r in a] for name, m in term.costs.items()}
    return Interaction(term.layers, [[term.loss[r][c] for c in b] for r in a], costs)


@pytest.mark.parametrize("name", PROVERS)
def test_order_of_layers_and_choices_changes_no_loss(name):
    """Small problems of all kinds, put in another order, have the same least loss."""
    solver = made(name)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(problems_for(solver.traits), st.randoms(use_true_random=False))
    def check(problem, random):
        order = random.sample(range(len(problem)), len(problem))
        other = permuted(problem, order, random.randrange(99))
        assert solve(other, solver).loss == solve(problem, solver).loss

    check()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", PROVERS)
def test_order_of_many_layers_changes_no_loss(name, seed):
    """Mid-size problems, put in another order, have the same least loss."""
    solver = made(name)
    problem = mid_size(seed, solver.traits)
    other = permuted(problem, np.random.default_rng(seed).permutation(len(problem)), seed)
    first, second = solve(problem, solver), solve(other, solver)
    assert first.status == second.status == "optimal"
    assert second.loss == pytest.approx(first.loss, rel=1e-12)


@each_solver
def test_an_earlier_problem_leaves_no_trace(name):
    """A solver that has solved something else answers as a fresh one does."""
    if made(name).traits.evaluates:
        pytest.skip("it needs a measured objective")
    used = made(name)
    for seed in SEEDS:
        problem = mid_size(seed, used.traits)
        again, fresh = (solve(problem, s, seed=3, effort=STATES) for s in (used, made(name)))
        assert (again.configuration, again.lower_bound) == (fresh.configuration, fresh.lower_bound)
