"""Stages `problem` and `solve`: the allocation problem, its solutions and its front."""

from __future__ import annotations

from bitwright import api
from bitwright.cost_models import tabulate
from bitwright.pipeline.scoring import table_from_document
from bitwright.pipeline.work import Work
from bitwright.problems.formats import write_front, write_problem, write_solution
from bitwright.problems.problem import AllocationProblem, Choice, LayerChoices


def make_problem(work: Work) -> list[str]:
    """Put scores and costs together; the first measure of the configuration gives the loss."""
    measure = work.config.significance[0].name
    document = work.folder.read_json(f"significance/{measure}.json")
    table = table_from_document(document, solved=True)
    models = [work.plugin("cost_models", section) for section in work.config.costs]
    costs = tabulate(work.network, work.candidates, models)
    row = {name: i for i, name in enumerate(table.components)}
    column = {precision: j for j, precision in enumerate(table.precisions)}
    layers = [
        LayerChoices(
            name,
            tuple(
                Choice(p, float(table.scores[row[name], column[p]]), costs.of[name][p])
                for p in candidates
            ),
        )
        for name, candidates in work.candidates.items()
    ]
    problem = AllocationProblem.from_layers(
        work.config.name,
        layers,
        ties=work.network.ties,
        fixed_costs={name: value for name, value in costs.fixed.items() if value},
    )
    write_problem(problem, work.folder / "problem.json")
    return ["problem.json"]


def solve(work: Work) -> list[str]:
    """Solve for every set of budgets, and for the whole front."""
    problem, config = work.problem, work.config
    outputs = []
    for old in (work.folder / "solutions").glob("*.json"):
        if old.stem not in config.solutions:
            old.unlink()  # of a set of budgets that is no longer asked for
    for name, budgets in config.solutions.items():
        solver = work.plugin("solvers", config.solver) if config.solver else None
        solution = api.solve(problem, budgets=budgets, solver=solver, seed=config.seed)
        write_solution(solution, work.folder / f"solutions/{name}.json")
        outputs.append(f"solutions/{name}.json")
    cost, points = config.front.cost, config.front.points
    write_front(api.front(problem, costs=[cost], seed=config.seed), work.folder / "front.json")
    chosen = api.front(problem, costs=[cost], points=points, seed=config.seed)
    write_front(chosen, work.folder / "front_points.json")
    return [*outputs, "front.json", "front_points.json"]
