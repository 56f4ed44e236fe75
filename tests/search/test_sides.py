"""Ties of one side are merged exactly, in bounded time, or refused by name."""

import itertools

import numpy as np
import pytest

from bitwright.problems.errors import UnsupportedProblemError
from bitwright.problems.precision import Precision
from bitwright.problems.ties import Tie
from bitwright.search.door import solve
from bitwright.search.exact import ExactSolver
from bitwright.search.one_budget import sides
from bitwright.search.one_budget.sides import merge_sides
from bitwright.search.reduction import merge_ties
from bitwright.testing.known_cases import tabulated

BITS = [Precision(w, a) for w in (2, 4, 8) for a in (4, 8)]


def problem(layers, ties, seed=0):
    """Layers with six precisions each, random losses and costs."""
    random = np.random.default_rng(seed)
    shape = (layers, len(BITS))
    losses, costs = random.random(shape), random.integers(1, 50, shape)
    return tabulated("sides", losses.tolist(), {"c": costs.tolist()}, [BITS] * layers, ties=ties)


def test_groups_that_nothing_links_stay_as_they_were():
    """Without ties of one side the groups are handed back, not copied."""
    groups = merge_ties(problem(3, [Tie(("layer0", "layer1"))]))
    assert merge_sides(problem(3, [Tie(("layer0", "layer1"))]), groups, "c") is groups


def test_rows_are_the_undominated_combinations():
    """A merged group holds, for its cost, just the combinations that keep the tie and are undominated."""
    table = problem(3, [Tie(("layer0", "layer2"), "activation")])
    merged = merge_sides(table, merge_ties(table), "c")
    assert len(merged) == 2
    combined = merged.group_of_layer[0]
    rows = range(merged.start[combined], merged.start[combined + 1])
    found = {(int(merged.costs["c"][r]), float(merged.loss[r])) for r in rows}
    pairs = [
        (
            int(table.costs["c"].units[a] + table.costs["c"].units[b]),
            float(table.loss[a] + table.loss[b]),
        )
        for a, b in itertools.product(table.span(0), table.span(2))
        if table.activation_bits[a] == table.activation_bits[b]
    ]
    true = {p for p in pairs if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in pairs)}
    assert found == true


def test_a_long_chain_of_ties_is_solved():
    """Thirty layers tied pairwise along a chain are merged in moderate lists and solved."""
    ties = [Tie((f"layer{i}", f"layer{i + 1}"), "activation") for i in range(29)]
    table = problem(30, ties)
    cheapest = sum(
        min(int(u) for u in table.costs["c"].units[list(table.span(i))]) for i in range(30)
    )
    solution = solve(table.with_budgets({"c": 2 * cheapest + 100}), ExactSolver())
    assert solution.status == "optimal"
    assert len({p.activation_bits for p in solution.configuration.values()}) == 1


def test_too_many_combinations_are_refused_by_name(monkeypatch):
    """Where merging explodes the error names the layers and the solver that can do it."""
    monkeypatch.setattr(sides, "MOST_COMBINATIONS", 5)
    table = problem(2, [Tie(("layer0", "layer1"), "weight")]).with_budgets({"c": 60})
    with pytest.raises(UnsupportedProblemError, match=r"2 layers \('layer0', ...\).*solver 'ilp'"):
        solve(table, ExactSolver())
