"""Peaks and means as costs of a run: named in its configuration, priced, and budgets on them kept."""

from __future__ import annotations

import pytest

from bitwright import api
from bitwright.pipeline import preflight
from bitwright.pipeline.folder import RunFolder
from bitwright.pipeline.solving import assemble
from bitwright.pipeline.work import Work
from bitwright.problems.errors import InputError
from bitwright.problems.formats import read_network as read_network_file
from bitwright.problems.formats import read_problem, write_network, write_problem
from bitwright.testing.brute_force import brute_force

from .tiny_run import Lines, config

COSTS = ["size_bits", "size_bytes", "mean_weight_bits", "peak_activation_bytes"]


def work(folder, solutions, costs=COSTS):
    settings = config(
        precisions=["w2a4", "w4a8", "w8a8"], costs=costs, solutions=solutions,
        calibration={"weight_scheme": "affine", "weight_granularity": "tensor"},
    )  # fmt: skip
    return Work(settings, RunFolder(folder), Lines())


def test_a_run_solves_under_its_peak(tmp_path):
    """From the network's file on, budgets in bytes, shares and bits give brute force's loss."""
    solutions = {
        "bytes": {"peak_activation_bytes": "3kB"},
        "share": {"peak_activation_bytes": "60%", "mean_weight_bits": 4},
    }
    run = work(tmp_path, solutions)
    preflight.check(run)
    write_network(run.read_network().description, tmp_path / "network.json")
    network = read_network_file(tmp_path / "network.json")
    losses = {name: 1 + i for i, name in enumerate(network.names)}
    problem = assemble(
        run, network, lambda name, p: losses[name] * 2.0 ** -(p.weight_bits + p.activation_bits)
    )
    write_problem(problem, tmp_path / "problem.json")
    problem = read_problem(tmp_path / "problem.json")
    assert set(problem.cost_names) == set(COSTS)
    assert "peak_activation_bytes" not in problem.fixed_costs
    for budgets in run.config.solutions.values():
        solution = api.solve(problem, budgets=budgets)
        truth = brute_force(problem.with_budgets(solution.budgets))
        assert solution.status == "optimal"
        assert solution.loss == pytest.approx(truth.loss, rel=1e-12)
        assert all(slack >= 0 for slack in solution.slack.values())


def test_sizes_follow_the_calibration(tmp_path):
    """The grids that are paid for are those of the run, unless the cost says otherwise."""
    costs = ["size_bytes", {"name": "stored_size_bytes", "weight_scheme": "symmetric"}]
    packed, stored = work(tmp_path, {"a": {"size_bytes": "50%"}}, costs).config.costs
    assert packed.options == {"weight_scheme": "affine", "weight_granularity": "tensor"}
    assert stored.options == {"weight_scheme": "symmetric", "weight_granularity": "tensor"}


def test_a_mistyped_budget_is_named_before_the_run(tmp_path):
    """The peak is among the costs that a budget may name."""
    run = work(tmp_path, {"a": {"peak_activation_byte": 1}})
    with pytest.raises(InputError, match="did you mean 'peak_activation_bytes'"):
        preflight.check(run)
