"""Hold solutions under a latency budget and a size budget to the time that their exports take.

    bitwright measure torchvision:resnet18 --out table.csv
    python -m benchmarks.latency_budget torchvision:resnet18 table.csv

For a grid of both budgets the exact solver chooses bits, among those that the table has, of least relative
weight error (a stand-in for a loss: networks have random weights). Each configuration is exported as
`bitwright measure` exports it and run end to end, all in turn. A budget counts as kept when the
measured time is at most the budget and the table's own mean error of prediction above it.
Needs the extras: pip install 'bitwright[onnx,detection]'.
"""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import bitwright
from bitwright.cost_models import CostTable, LayerCosts, PackedSize, tabulate
from bitwright.measuring.configurations import network_model
from bitwright.measuring.journal import Journal
from bitwright.measuring.models import random_inputs
from bitwright.measuring.onnx_runtime import OnnxRuntime
from bitwright.measuring.timing import pinned_to, time_in_rounds
from bitwright.networks import layers_of
from bitwright.problems import AllocationProblem, Choice, LayerChoices, Precision
from bitwright.progress import Reporter
from bitwright.quantization import Calibration, calibrate, fake_quantize
from bitwright.sources import SourceNetwork, read_source

_LATENCIES = ("10%", "30%", "50%", "70%")
_SIZES = ("15%", "50%")


def main() -> None:
    """Print a row for every pair of budgets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="as `bitwright measure` takes it")
    parser.add_argument("table", type=Path, help="a table that `bitwright measure` made of it")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = read_source(options.source, ())
    table = CostTable(file=options.table)
    calibration = calibrate(source.model, source.traced.description, [source.inputs])
    problem = problem_of(source, table, calibration)
    budgets = itertools.product(_LATENCIES, _SIZES)
    solutions = {
        f"{latency} {size}": bitwright.solve(
            problem, budgets={"latency_us": latency, "size_bytes": size}
        )
        for latency, size in budgets
    }
    models = {
        name: network_model(source.model, source.inputs, solution.configuration, calibration)
        for name, solution in solutions.items()
        if solution.configuration is not None
    }
    measured = times_of(models, options.repeats)
    allowed = stated_error(options.table)
    print(f"Predictions of the table are {allowed:.1%} off on average.\n")
    print(
        "| budgets: latency, size | status | int8 layers | budget ms | predicted ms | measured ms | off | kept |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, solution in solutions.items():
        if solution.configuration is None:
            print(f"| {name} | {solution.status.value} | | | | | | |")
            continue
        budget, predicted = (
            float(of["latency_us"]) / 1e3 for of in (solution.budgets, solution.costs)
        )
        least = measured[name] / 1e3
        eights = sum(p == Precision(8, 8) for p in solution.configuration.values())
        print(
            f"| {name} | {solution.status.value} | {eights} of {len(problem)} | {budget:.2f} | {predicted:.2f} "
            f"| {least:.2f} | {predicted / least - 1:+.1%} | {least <= budget * (1 + allowed)} |"
        )


def problem_of(
    source: SourceNetwork, table: CostTable, calibration: Calibration
) -> AllocationProblem:
    """Every layer in float32 or in 8 bits, with its measured latency and its size."""
    network = source.traced.description
    candidates = {layer.name: (Precision(8, 8), Precision(32, 32)) for layer in network}
    costs: LayerCosts = tabulate(network, candidates, [table, PackedSize()])
    modules = layers_of(source.model, network.names)

    def loss(name: str, precision: Precision) -> float:
        if precision.is_float32:
            return 0.0
        weight = modules[name].weight.detach()
        grid = calibration.weight_grid(name, precision.weight_bits)
        return float((fake_quantize(weight, grid) - weight).square().sum() / weight.square().sum())

    return AllocationProblem.from_layers(
        network.name,
        [
            LayerChoices(name, tuple(Choice(p, loss(name, p), costs.of[name][p]) for p in offered))
            for name, offered in candidates.items()
        ],
        ties=network.ties,
        interactions=costs.interactions,
        fixed_costs={name: value for name, value in costs.fixed.items() if value},
    )


def times_of(models: dict[str, bytes], repeats: int) -> dict[str, float]:
    """Smallest microseconds of one run of every model."""
    runtime = OnnxRuntime()
    with TemporaryDirectory() as folder, pinned_to(1), Reporter().bar("measuring") as bar:
        times = time_in_rounds(
            models,
            lambda: {n: runtime.load(m, random_inputs(m, 0), 1) for n, m in models.items()},
            repeats=repeats,
            seed=0,
            journal=Journal(Path(folder) / "rounds", "budgets"),
            bar=bar,
        )
    return {name: one.least for name, one in times.items()}


def stated_error(table: Path) -> float:
    """The mean error that stands on top of the table."""
    found = re.search(r"# prediction_error: ([\d.]+)%", table.read_text(encoding="utf-8"))
    assert found, f"{table}: no prediction_error; measure whole networks too"
    return float(found[1]) / 100


if __name__ == "__main__":
    main()
