"""A measured latency with changes of precision, a size and a peak at once: answers against all configurations."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

import bitwright
from bitwright.cost_models import CostTable, PeakActivation, WeightSize, tabulate
from bitwright.networks import read_network
from bitwright.problems import FLOAT32, AllocationProblem, Choice, LayerChoices
from bitwright.problems.formats import write_problem
from bitwright.testing.brute_force import brute_force_front, feasible

from .commands.models import small
from .commands.problems import run
from .cost_models.tables.boards import W4A4, W4A8, W8A8, board, by_layer

HEAD = (
    "# network: small",
    "# overhead_us: 2.5",
    "# rest_us: 1.25",
    "# change_us: 3.1",
    "# change_us_per_element: 0.01",
    "# factor_us_w8a8: 0.7",
    "# factor_us_w32a32: 1.3",
)
MEASURED = (W4A8, W8A8, FLOAT32)
LATENCY = {"stem": (9, 10, 24), "side": (6, 5.5, 9), "body": (10.5, 12, 31), "head": (3.2, 3, 4)}
OFFERED = (W4A4, *MEASURED)
LOSS = {"stem": 4.0, "side": 0.5, "body": 1.0, "head": 2.5}
SHARE = {W4A4: 1.0, W4A8: 0.625, W8A8: 0.25, FLOAT32: 0.0}
COSTS = ("latency_us", "size_bits", "peak_activation_bytes")


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """The problem of a small network on a board whose times are known, by its three cost models."""
    torch.manual_seed(0)
    network = read_network(small().eval(), (torch.zeros(1, 3, 8, 8),), "small").description
    path = tmp_path_factory.mktemp("table") / "board.csv"
    rows = [
        (name, p, us)
        for name, times in LATENCY.items()
        for p, us in zip(MEASURED, times, strict=True)
    ]
    path.write_text(by_layer(HEAD, rows))
    models = [CostTable(file=path), WeightSize(), PeakActivation()]
    costs = tabulate(network, dict.fromkeys(network.names, OFFERED), models, board())
    assert len(costs.interactions) == 4
    layers = [
        LayerChoices(name, [Choice(p, LOSS[name] * SHARE[p], costs.of[name][p]) for p in OFFERED])
        for name in network.names
    ]
    return AllocationProblem.from_layers(
        "small",
        layers,
        ties=network.ties,
        interactions=costs.interactions,
        peaks=costs.peaks,
        fixed_costs=costs.fixed,
    )


@pytest.fixture(scope="module")
def everything(problem):
    """Loss and costs of every configuration that keeps the ties."""
    return [evaluation for _, evaluation in feasible(problem)]


def tight_budgets(everything):
    """Budgets on all three costs, each at an eighth, half and whole of its range."""
    limits = []
    for name in COSTS:
        low, high = (of(e.costs[name] for e in everything) for of in (min, max))
        shares = (Fraction(1, 8), Fraction(1, 2), Fraction(1))
        limits.append([low + (high - low) * share for share in shares])
    return [dict(zip(COSTS, limit, strict=True)) for limit in itertools.product(*limits)]


def halves(everything):
    """All three budgets at half of their range."""
    return tight_budgets(everything)[13]


def least(everything, budgets):
    """The least loss within budgets, infinite where there is none."""
    return min((e.loss for e in everything if not e.over_budget(budgets)), default=math.inf)


def test_all_three_budgets_are_kept_at_the_least_loss(problem, everything):
    """Whatever the three allow, both exact solvers find brute force's loss; each budget binds somewhere."""
    binding = set()
    for budgets in tight_budgets(everything):
        loss = least(everything, budgets)
        for solver in ("exact", "ilp"):
            solution = bitwright.solve(problem, budgets=budgets, solver=solver)
            assert solution.status == ("infeasible" if loss == math.inf else "optimal")
            if loss < math.inf:
                assert solution.loss == pytest.approx(loss, rel=1e-12)
                figures = problem.evaluate(problem.selection(solution.configuration))
                assert not figures.over_budget(budgets)
        rest = [{k: v for k, v in budgets.items() if k != name} for name in COSTS]
        binding |= {n for n, r in zip(COSTS, rest, strict=True) if least(everything, r) < loss}
    assert binding == set(COSTS)


@pytest.mark.parametrize("costs", [("latency_us",), ("latency_us", "size_bits"), ("size_bits",)])
def test_the_front_is_that_of_all_configurations(problem, everything, costs):
    """With pairwise changes in the costs, within budgets on the others, every point is there."""
    budgets = halves(everything)
    others = {name: limit for name, limit in budgets.items() if name not in costs}
    front = bitwright.front(problem, costs=costs, budgets=others)
    whole = brute_force_front(problem.with_budgets(others), *costs)
    assert len(whole) > 3
    assert front.exact
    found = [(*values, loss) for values, loss in zip(front.cost_values, front.losses, strict=True)]
    assert np.array(found) == pytest.approx(np.array(whole, dtype=float), rel=1e-12)


def test_compared_solvers_agree(capsys, problem, everything, tmp_path):
    """From the problem's file: exact solvers give brute force's loss, the others none below, all within budgets."""
    write_problem(problem, tmp_path / "problem.json")
    budgets = halves(everything)
    given = [f"--budget={name}={float(limit)}" for name, limit in budgets.items()]
    solvers = ("--solvers", "exact,ilp,front,greedy,lagrangian")
    status, out, _ = run(capsys, "compare", tmp_path / "problem.json", *given, *solvers, "--json")
    document, loss = json.loads(out), least(everything, budgets)
    assert (status, document["status"], document["contradictions"]) == (0, "optimal", [])
    assert document["loss"] == pytest.approx(loss, rel=1e-12)
    answers = {entry["solver"]: entry for entry in document["solutions"]}
    assert document["without_solution"] == []
    assert all(answers[name]["status"] == "optimal" for name in ("exact", "ilp", "front"))
    for entry in answers.values():
        assert entry["loss"] >= loss - 1e-12
        assert all(entry["costs"][name] <= limit for name, limit in budgets.items())
