"""Stages `problem` and `solve`: the allocation problem, its solutions and its front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from bitwright import api
from bitwright.pipeline.costing import tabulated, write_costs
from bitwright.pipeline.scoring import table_from_document
from bitwright.pipeline.work import Work
from bitwright.problems.device import Device
from bitwright.problems.errors import MeasurementError
from bitwright.problems.formats import write_front, write_problem, write_solution
from bitwright.problems.network import NetworkDescription
from bitwright.problems.precision import FLOAT32, Precision
from bitwright.problems.problem import AllocationProblem, Choice, LayerChoices
from bitwright.problems.scores import SignificanceTable

LossOf = Callable[[str, Precision], float]
_NAMED = 5


def make_problem(work: Work) -> list[str]:
    """Put scores and costs together; the first measure of the configuration gives the loss."""
    if work.device is not None:
        work.reporter.say(_left_out(work, work.device))
    measure = work.config.significance[0].label
    document = work.folder.read_json(f"significance/{measure}.json")
    problem = assemble(work, work.network, _losses(table_from_document(document, solved=True)))
    write_problem(problem, work.folder / "problem.json")
    return ["problem.json", *write_costs(work)]


def _left_out(work: Work, device: Device) -> str:
    """Which precisions the device keeps from how many layers, and who is left in float32 for it."""
    offered = work.candidates
    quantized = [layer for layer in work.network if layer.quantizable and layer.pinned is None]
    lines = [f"  device {device.name}: {device.title}"]
    for precision in work.config.precisions:
        without = [
            layer.name for layer in quantized if device.layer_runs_as(layer, precision) is None
        ]
        if without:
            lines.append(f"  {precision} cannot be stored for {_names(without, len(quantized))}")
    left = [
        layer.name
        for layer in quantized
        if offered[layer.name] == (FLOAT32,) and FLOAT32 not in work.config.precisions
    ]
    if left:
        lines.append(f"  left in float32, since nothing else can be stored: {_names(left)}")
    return "\n".join(lines)


def _names(layers: Sequence[str], of: int = 0) -> str:
    if len(layers) == of:
        return "any layer"
    more = f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else ""
    return ", ".join(layers[:_NAMED]) + more


def assemble(work: Work, network: NetworkDescription, loss: LossOf) -> AllocationProblem:
    """The problem of a network with this loss for every layer and candidate precision."""
    candidates = work.candidates_in(network)
    costs = tabulated(work, network)
    layers = [
        LayerChoices(name, tuple(Choice(p, loss(name, p), costs.of[name][p]) for p in offered))
        for name, offered in candidates.items()
    ]
    return AllocationProblem.from_layers(
        work.config.name,
        layers,
        ties=network.ties,
        interactions=costs.interactions,
        peaks=costs.peaks,
        fixed_costs={name: value for name, value in costs.fixed.items() if value},
    )


def _losses(table: SignificanceTable) -> LossOf:
    row = {name: i for i, name in enumerate(table.components)}
    column = {precision: j for j, precision in enumerate(table.precisions)}

    def loss(layer: str, precision: Precision) -> float:
        known = layer in row and precision in column
        score = float(table.scores[row[layer], column[precision]]) if known else math.nan
        if not math.isfinite(score):
            what = f"significance measure {table.measure!r}: layer {layer!r} at {precision}"
            raise MeasurementError(f"{what} has no finite score")
        return score

    return loss


def solve(work: Work) -> list[str]:
    """Solve for every set of budgets, and for the whole front."""
    problem, config = work.problem, work.config
    device, network = work.device, work.network
    outputs: list[str] = []
    for old in work.folder.outputs("solve"):
        if Path(old).parent.name == "solutions" and Path(old).stem not in config.solutions:
            (work.folder / old).unlink(missing_ok=True)  # of budgets that are no longer asked for
    for name, budgets in config.solutions.items():
        solver = work.plugin("solvers", config.solver) if config.solver else None
        solution = api.solve(
            problem,
            budgets=budgets,
            solver=solver,
            seed=config.seed,
            device=device,
            network=network,
        )
        write_solution(solution, work.folder / f"solutions/{name}.json")
        outputs.append(f"solutions/{name}.json")
    cost, points = config.front.cost, config.front.points
    whole = api.front(problem, costs=[cost], seed=config.seed, device=device, network=network)
    write_front(whole, work.folder / "front.json")
    chosen = api.front(
        problem, costs=[cost], points=points, seed=config.seed, device=device, network=network
    )
    write_front(chosen, work.folder / "front_points.json")
    return [*outputs, "front.json", "front_points.json"]
