"""The compiled twins give what the numpy functions give, to the last bit, and load when it pays."""

import itertools
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.problems.errors import InputError, MissingDependencyError
from bitwright.search import kernels
from bitwright.search.door import front, solve
from bitwright.search.exact import ExactSolver
from bitwright.search.figures import added, compensated
from bitwright.search.front import FrontSolver
from bitwright.search.one_budget.core import Core, gathered
from bitwright.search.one_budget.core_search import advanced
from bitwright.search.one_budget.knapsack import groups_for
from bitwright.search.one_budget.lists import followed, joined, paired
from bitwright.search.one_budget.relaxation import Relaxation, relaxed
from bitwright.testing.known_cases import tabulated
from tests.search.random_problems import SIDES, budgeted, tables

pytest.importorskip("numba")
twins = pytest.importorskip("bitwright.search.kernels.twins")

FAST = settings(max_examples=150, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def both(function, *arguments):
    """What the numpy function and its twin return for copies of the same arguments."""
    name = function.__name__
    return function.__wrapped__(*copied(arguments)), twins.TWINS[name](*copied(arguments))


def copied(value):
    if isinstance(value, tuple):
        return tuple(copied(v) for v in value)
    return value.copy() if isinstance(value, np.ndarray) else value


def assert_same(one, other):
    """Equal values of equal kinds, down to the bits of floats."""
    if isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    else:
        assert one == other


def random_groups(seed):
    """Starts, costs and losses of a few groups, often with equal values, sometimes huge ones."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 7, rng.integers(1, 9))
    size = int(counts.sum())
    cost = rng.integers(0, rng.choice([4, 100, 10**15]), size)
    loss = rng.integers(-3, 4, size) / 10
    if rng.random() < 0.5:
        loss = rng.normal(size=size) * 10.0 ** rng.integers(-9, 9)
    return rng, np.concatenate([[0], np.cumsum(counts)]), cost, loss


def random_states(rng, size):
    """A list by rising cost and falling loss."""
    most = rng.choice([3 * size, 10**12])
    cost = np.unique(rng.integers(-most, most, size))
    loss = np.unique(rng.integers(-most, most, 4 * size))[::-1][: len(cost)]
    return cost[: len(loss)], loss.copy()


def random_core(seed):
    """A core of random groups about its relaxation; None where nothing fits."""
    rng, start, cost, loss = random_groups(seed)
    layers = [slice(a, b) for a, b in itertools.pairwise(start)]
    problem = tabulated(
        "drawn",
        [loss[own].tolist() for own in layers],
        {"c": [cost[own].tolist() for own in layers]},
    )
    groups = groups_for(problem, "c")
    figures = relaxed(
        groups.start, groups.costs["c"], groups.loss, int(rng.integers(cost.sum() + 2))
    )
    return None if figures[0] < 0 else (groups, Core(groups, "c", Relaxation(*figures)))


@FAST
@given(seeds)
def test_relaxed(seed):
    """Multiplier, picked rows, penalties and shortfall, whether the budget is short or ample."""
    rng, start, cost, loss = random_groups(seed)
    for limit in (int(cost.sum()), int(rng.integers(cost.sum() + 2)), int(cost.min())):
        one, other = both(relaxed, start, cost, loss, limit)
        assert one[0] == other[0]
        if one[0] >= 0:
            assert_same(one, other)


@FAST
@given(seeds)
def test_gathered(seed):
    """The rows that stay open, in order, whatever their penalty may be at most."""
    if found := random_core(seed):
        groups, core = found
        r = core.relaxation
        for worth in (0.0, r.multiplier * r.room + r.shortfall, math.inf):
            fixed = groups.start, groups.costs["c"], groups.loss, r.penalty, r.picked, worth
            assert_same(*both(gathered, core.group, *fixed, core.prices[1]))


@FAST
@given(seeds)
def test_joined(seed):
    """Merged lists with their parents and choices, under all sorts of limits."""
    rng = np.random.default_rng(seed)
    states, more = (random_states(rng, n) for n in rng.integers(1, 40, 2))
    prices = (float(rng.random()), float(rng.random()))
    lowest, highest = np.sort(rng.choice(np.append(states[0], [-(10**13), 10**13]), 2)).tolist()
    for allowance in (math.inf, float(rng.normal() * 1e6), 0.0):
        for allowed in ((-(2**60), 2**60), (lowest, highest)):
            assert_same(*both(joined, states, more, prices, allowance, allowed))


@FAST
@given(seeds)
def test_paired(seed):
    """The best pair within the room, or none."""
    rng = np.random.default_rng(seed)
    one, other = (random_states(rng, n) for n in rng.integers(1, 30, 2))
    for room in (-(10**13), 0, int(rng.integers(-100, 100)), 10**13):
        assert_same(*both(paired, *one, *other, room))


@FAST
@given(seeds)
def test_advanced(seed):
    """The lists, the best pair and the steps after some places, with and without limits."""
    if found := random_core(seed):
        core = found[1]
        part, start = core.part(0), core.nothing
        for most, work, settled in ((10**6, 10**9, -math.inf), (3, 10**9, 0.0), (10**6, 7, 0.0)):
            arguments = (
                part.first, part.start, part.rows, core.nearest, 0, part.last, start, start, 0,
                core.room, core.relaxation.capacity, most, work, core.prices, core.gap,
                core.rounding, settled,
            )  # fmt: skip
            assert_same(*both(advanced, *arguments))


@FAST
@given(seeds)
def test_followed(seed):
    """The choices behind the states of the last list."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, rng.integers(1, 6))
    before = np.concatenate([[1], sizes[:-1]])
    parents = np.concatenate([rng.integers(0, b, s) for b, s in zip(before, sizes, strict=True)])
    for kind in (np.int16, np.int32):
        choices = rng.integers(0, 1000, int(sizes.sum())).astype(kind)
        states = rng.integers(0, sizes[-1], rng.integers(0, 5))
        arguments = parents.astype(np.int32), choices, np.cumsum(sizes), states
        assert_same(*both(followed, *arguments))


@FAST
@given(seeds)
def test_figures(seed):
    """Sums of losses with what is rounded away, and sums of units."""
    rng = np.random.default_rng(seed)
    choices = rng.integers(0, 20, (rng.integers(1, 9), rng.integers(0, 9)))
    assert_same(
        *both(compensated, choices, rng.normal(size=20) * 10.0 ** rng.integers(-20, 20, 20))
    )
    assert_same(*both(added, choices, rng.integers(0, 10**15, 20)))


def answers(problem):
    """What the solvers say of a problem, down to the configuration."""
    found = [solve(problem, solver) for solver in (ExactSolver(), FrontSolver())]
    said = [(s.status, s.loss, s.lower_bound, s.configuration) for s in found]
    whole = front(problem, ["c0"], FrontSolver())
    return said, whole.losses.tolist(), whole.cost_values.tolist(), whole.epsilon


@settings(max_examples=80, deadline=None, derandomize=True)
@given(budgeted(sides=SIDES) | tables(sides=SIDES))
def test_answers_are_the_same(problem):
    """Configurations, bounds and fronts do not depend on which of the two ran."""
    ours = kernels.accelerator
    with pytest.MonkeyPatch.context() as patch:
        said = []
        for twin in (True, False):
            patch.setattr(kernels, "accelerator", kernels.Accelerator())
            kernels.accelerator.use(twins=twin)
            said.append(answers(problem))
    assert said[0] == said[1]
    assert kernels.accelerator is ours


def fresh(monkeypatch, wanted):
    """An accelerator as it is when a process starts with this environment."""
    monkeypatch.setenv("BITWRIGHT_NUMBA", wanted)
    return kernels.Accelerator()


def test_environment_decides(monkeypatch):
    """1 loads the twins at once, 0 never, anything else is refused."""
    assert fresh(monkeypatch, "1").twin("joined") is twins.TWINS["joined"]
    never = fresh(monkeypatch, "0")
    assert never.twin("joined") is None
    never.worked_since(-1e9)
    assert never.twin("joined") is None
    with pytest.raises(InputError, match="BITWRIGHT_NUMBA must be 0, 1 or empty, got 'yes'"):
        fresh(monkeypatch, "yes").twin("joined")


def test_missing_numba(monkeypatch):
    """Asked for by name a missing numba is an error that says what to install; else numpy works on."""
    monkeypatch.setitem(sys.modules, "bitwright.search.kernels.twins", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'bitwright\[fast\]'"):
        fresh(monkeypatch, "1").twin("joined")
    patient = fresh(monkeypatch, "")
    assert patient.twin("joined") is None
    patient.worked_since(-1e9)
    assert patient.twin("joined") is None


def test_loaded_after_some_work(monkeypatch):
    """Twins come after long work of numpy, after longer work where they must be compiled first."""
    clock = iter([kernels.LOADED_AFTER / 2, kernels.LOADED_AFTER, kernels.COMPILED_AFTER])
    monkeypatch.setattr(kernels, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(kernels.Path, "glob", lambda self, pattern: iter(()))
    patient = fresh(monkeypatch, "")
    for loaded in (False, False, True):
        assert patient.twin("joined") is None
        patient.worked_since(0.0)
        assert (patient.twin("joined") is not None) == loaded
