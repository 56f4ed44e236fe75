"""Merging ties and dropping dominated choices is exact and can be undone."""

import itertools
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.ties import Tie
from bitwright.search.reduction import merge_ties, priced, summed_losses
from bitwright.testing.known_cases import tabulated
from tests.search.random_problems import tables

FAST = settings(max_examples=100, deadline=None, derandomize=True)


@FAST
@given(tables())
def test_rows_are_the_selections_that_respect_the_ties(problem):
    """One row per group and back: exactly the tied selections, with their loss and cost."""
    groups = merge_ties(problem)
    spans = [range(a, b) for a, b in itertools.pairwise(groups.start.tolist())]
    rows = np.array(list(itertools.product(*spans)))
    selections = groups.selection(rows)
    assert len({tuple(s) for s in selections.tolist()}) == len(rows)
    everything = itertools.product(*(problem.span(i) for i in range(len(problem))))
    tied = [s for s in everything if not problem.broken_ties(np.array(s))]
    assert sorted(map(tuple, selections.tolist())) == sorted(tied)
    for row, selection in zip(rows[:50], selections[:50], strict=True):
        evaluation = problem.evaluate(selection)
        scale = 10 ** problem.costs["c0"].digits
        summed = evaluation.costs["c0"] - problem.fixed_costs.get("c0", 0)
        assert int(groups.costs["c0"][row].sum()) == summed * scale
        assert groups.loss[row].sum() == pytest.approx(evaluation.loss)


@FAST
@given(tables())
def test_dominated_choices_are_dropped(problem):
    """Every row is matched by a kept one, kept ones rise in cost and fall in loss."""
    groups = merge_ties(problem)
    table = priced(groups, "c0").undominated()
    assert len(table) == len(groups)
    units = groups.costs["c0"]
    for g, (a, b) in enumerate(itertools.pairwise(groups.start.tolist())):
        own = slice(table.start[g], table.start[g + 1])
        kept = table.row[own]
        assert all(a <= row < b for row in kept)
        assert np.all(np.diff(table.loss[own]) < 0)
        assert np.all(np.diff(table.cost[own]) > 0)
        assert table.loss[own].tolist() == groups.loss[kept].tolist()
        assert table.cost[own].tolist() == [u - min(units[a:b]) for u in units[kept].tolist()]
        for row in range(a, b):
            assert any(groups.loss[k] <= groups.loss[row] and units[k] <= units[row] for k in kept)
    assert table.base == sum(min(units[a:b]) for a, b in itertools.pairwise(groups.start.tolist()))


def test_equal_choices_leave_the_first():
    """Among choices of equal cost and loss the first listed is taken."""
    problem = tabulated("p", [[1, 1, 0, 0]], {"c": [[0, 0, 5, 5]]})
    table = priced(merge_ties(problem), "c").undominated()
    assert table.row.tolist() == [0, 2]
    assert merge_ties(problem).least_loss().tolist() == [2]


def test_choices_beyond_the_room_go():
    """A choice that alone breaks the budget is left out; what is left may be small numbers again."""
    problem = tabulated("p", [[2, 1, 0], [1, 0, -1]], {"c": [[0, 5, 9], [1, 2, 10**30]]})
    table = priced(merge_ties(problem), "c").undominated().within(8)
    assert table.start.tolist() == [0, 2, 4]
    assert table.cost.tolist() == [0, 5, 0, 1]
    assert table.cost.dtype == np.int64
    assert table.base == 1


def test_chained_ties_keep_common_choices_only():
    """Ties that share a layer bind all their layers."""
    bits = [[Precision(b, 8) for b in row] for row in ([2, 4, 8], [8, 4, 2], [4, 2, 6])]
    ties = [Tie(("layer0", "layer1")), Tie(("layer1", "layer2"))]
    losses = [[1, 2, 3], [10, 20, 30], [100, 200, 300]]
    problem = tabulated("p", losses, {"c": losses}, bits, ties=ties)
    groups = merge_ties(problem)
    assert groups.loss.tolist() == [1 + 30 + 200, 2 + 20 + 100]
    assert groups.selection(np.array([1])).tolist() == [1, 4, 6]


def test_ties_without_common_choice_are_refused():
    """Each tie alone may hold while the chain does not."""
    bits = [[Precision(b, 8) for b in row] for row in ([2, 4], [4, 8], [8, 2])]
    ties = [Tie(("layer0", "layer1")), Tie(("layer1", "layer2"))]
    problem = tabulated("p", [[0, 0]] * 3, {"c": [[0, 0]] * 3}, bits, ties=ties)
    with pytest.raises(InputError, match=r"'layer0', 'layer1', 'layer2'.* have no common choice"):
        merge_ties(problem)


@pytest.mark.slow
def test_a_hundred_thousand_groups_take_less_than_a_second():
    """Large problems go through in whole-array steps."""
    rng = np.random.default_rng(0)
    n, j = 100_000, 16
    problem = AllocationProblem(
        name="large",
        layers=tuple(f"l{i}" for i in range(n)),
        choice_start=np.arange(n + 1) * j,
        weight_bits=np.tile(np.arange(1, j + 1), n),
        activation_bits=np.full(n * j, 8),
        loss=rng.random(n * j),
        costs={"c": rng.integers(0, 10**9, n * j)},
        ties=[Tie((f"l{i}", f"l{i + 1}")) for i in range(0, 20_000, 2)],
    )
    started = time.perf_counter()
    table = priced(merge_ties(problem), "c").undominated()
    assert time.perf_counter() - started < 3
    assert len(table) == n - 10_000


def test_sums_of_ties_know_their_rounding_exactly():
    """Sums are correctly rounded, and what rounding took is the exact difference, 0 where none was."""
    loss = np.array([0.1, 0.0, 0.1, 0.2, 1e16, 1.0, -1e16, 0.5])
    start = np.array([0, 2, 4, 7, 8])
    sums, rounding = summed_losses(loss, start)
    assert sums.tolist() == [0.1, 0.1 + 0.2, 1.0, 0.5]
    exact = Fraction(0.1) + Fraction(0.2) - Fraction(0.1 + 0.2)
    assert Fraction(rounding) == abs(exact)
    assert summed_losses(loss[:2], start[:2])[1] == 0.0
