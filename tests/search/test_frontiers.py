"""Dynamic programming over frontiers finds what trying every assignment finds."""

import itertools

import numpy as np
import pytest

from bitwright.problems.errors import UnsupportedProblemError
from bitwright.problems.precision import Precision
from bitwright.problems.terms import Interaction
from bitwright.problems.ties import Tie
from bitwright.search.general.lagrangian_oracle import ModelOracle
from bitwright.search.general.modelling import model_of
from bitwright.testing.known_cases import tabulated


def linked(seed, layers, pairs, choices=3, ties=()):
    rng = np.random.default_rng(seed)
    widths = [[Precision(2 + j, 4 + j % 2) for j in range(choices)]] * layers
    costs = {"c": rng.integers(0, 50, (layers, choices)).tolist()}
    terms = [
        Interaction(
            (f"layer{a}", f"layer{b}"),
            rng.normal(size=(choices, choices)).tolist(),
            {"c": rng.integers(0, 9, (choices, choices)).tolist()},
        )
        for a, b in pairs
    ]
    problem = tabulated(
        "linked",
        rng.normal(size=(layers, choices)).tolist(),
        costs,
        widths,
        interactions=terms,
        ties=ties,
    )
    return problem.with_budgets({"c": 20 * layers})


CHAIN = [(i, i + 1) for i in range(5)]
SKIPS = [(0, 2), (2, 4), (1, 5)]
STAR = [(0, i) for i in range(1, 6)]
DENSE = list(itertools.combinations(range(6), 2))


@pytest.mark.parametrize("pairs", [CHAIN, CHAIN + SKIPS, STAR, DENSE, [(0, 5), (1, 4)]])
@pytest.mark.parametrize("multiplier", [0.0, 0.03])
def test_least_weighted_loss(pairs, multiplier):
    problem = linked(len(pairs), 6, pairs)
    oracle = ModelOracle(model_of(problem))
    found = oracle.least(np.full(len(oracle.limits), multiplier))
    spans = [problem.span(i) for i in range(len(problem))]
    least = min(
        e.loss + multiplier * float(e.costs["c"])
        for e in (problem.evaluate(np.array(s)) for s in itertools.product(*spans))
    )
    evaluation = problem.evaluate(oracle.model.selection(found.options))
    cost = multiplier * float(evaluation.costs["c"])
    assert evaluation.loss == pytest.approx(found.loss, abs=1e-12)
    assert evaluation.loss + cost == pytest.approx(least, abs=1e-9)


def test_ties_of_one_side_are_kept():
    ties = [Tie(("layer0", "layer3"), "activation"), Tie(("layer1", "layer3"), "weight")]
    problem = linked(5, 6, CHAIN, choices=4, ties=ties)
    oracle = ModelOracle(model_of(problem))
    selection = oracle.model.selection(oracle.least(np.zeros(len(oracle.limits))).options)
    assert problem.broken_ties(selection) == []
    spans = [problem.span(i) for i in range(len(problem))]
    tied = (np.array(s) for s in itertools.product(*spans))
    least = min(problem.evaluate(s).loss for s in tied if not problem.broken_ties(s))
    assert problem.evaluate(selection).loss == pytest.approx(least, abs=1e-12)


def test_too_dense_links_are_refused():
    problem = linked(1, 20, list(itertools.combinations(range(20), 2)), choices=4)
    with pytest.raises(UnsupportedProblemError, match="linked too densely"):
        ModelOracle(model_of(problem))
