"""The public functions: the same words as on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitwright import plugins
from bitwright.problems.budgets import Budget
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import UnsupportedProblemError
from bitwright.problems.exact import Number
from bitwright.problems.formats import read_problem
from bitwright.problems.front import ParetoFront
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Effort, MeasuredObjective, Solver
from bitwright.problems.solution import Solution
from bitwright.search import door

if TYPE_CHECKING:
    from torch import nn

__all__ = ["apply", "front", "read_problem", "solve"]

BudgetValues = Mapping[str, str | Number] | Iterable[Budget]


def solve(
    problem: AllocationProblem | str | Path,
    *,
    budgets: BudgetValues = (),
    solver: str | Solver | None = None,
    effort: Effort = Effort(),
    seed: int = 0,
    objective: MeasuredObjective | None = None,
) -> Solution:
    """Find the configuration of least loss within the budgets, with its certificate.

    `problem` is a problem or the path of a problem file. `budgets` maps cost names to limits, a
    number in the cost's unit or text such as `"50%"` or `"1.5MB"`; they stand beside those of the
    problem and replace those of the same name. Without a `solver` it is `exact`, or `ilp` where that
    refuses the problem, as with several budgets. Raises `InputError` for bad input; a budget that
    nothing meets is a `Solution` of status `infeasible` that explains itself.

    >>> from bitwright import AllocationProblem, Choice, LayerChoices, Precision
    >>> def layer(name, losses):
    ...     return LayerChoices(name, tuple(
    ...         Choice(Precision(bits, 8), loss, {"size_bits": 100 * bits})
    ...         for bits, loss in losses.items()))
    >>> problem = AllocationProblem.from_layers(
    ...     "tiny", [layer("conv1", {2: 0.9, 4: 0.1}), layer("conv2", {2: 0.2, 4: 0.1})])
    >>> solve(problem, budgets={"size_bits": 600}).configuration
    BitConfiguration(conv1: w4a8, conv2: w2a8)
    """
    problem, budgets = _problem(problem), _budgets(budgets)
    if solver is None:
        try:
            return door.solve(problem, _solver("exact"), budgets=budgets, effort=effort, seed=seed)
        except UnsupportedProblemError:
            solver = "ilp"
    return door.solve(
        problem,
        _solver(solver),
        budgets=budgets,
        effort=effort,
        seed=seed,
        objective=objective,
    )


def front(
    problem: AllocationProblem | str | Path,
    *,
    costs: Sequence[str],
    solver: str | Solver | None = None,
    points: int | None = None,
    budgets: BudgetValues = (),
    epsilon: float = 0.0,
    effort: Effort = Effort(),
    seed: int = 0,
) -> ParetoFront:
    """Find the Pareto front of loss against one or more costs.

    Without `points` every point found, without configurations; with it that many, spread over the
    front, with configurations. Without a `solver` it is `front`, or `ilp` where that
    refuses, as with several costs.
    """
    problem, budgets = _problem(problem), _budgets(budgets)

    def found(solver: str | Solver) -> ParetoFront:
        return door.front(
            problem,
            tuple(costs),
            _solver(solver),
            budgets=budgets,
            points=points,
            epsilon=epsilon,
            effort=effort,
            seed=seed,
        )

    if solver is not None:
        return found(solver)
    try:
        return found("front")
    except UnsupportedProblemError:
        return found("ilp")


def apply(
    model: nn.Module,
    answer: Solution | BitConfiguration,
    batches: Iterable[tuple[Any, ...]],
    *,
    weight_rule: str = "mse",
    activation_rule: str = "mse",
) -> nn.Module:
    """Return a trainable copy of the model that runs with the bits of a solution.

    `batches` yields the arguments of forward calls; they give the ranges of the activations. The
    model itself is left as it was. Raises `InputError` for a solution without a configuration.
    """
    from bitwright.applying import quantized_model

    return quantized_model(model, answer, batches, weight_rule, activation_rule)


def _problem(problem: AllocationProblem | str | Path) -> AllocationProblem:
    return problem if isinstance(problem, AllocationProblem) else read_problem(problem)


def _solver(solver: str | Solver) -> Solver:
    return plugins.create("solvers", solver) if isinstance(solver, str) else solver


def _budgets(budgets: BudgetValues) -> tuple[Budget, ...]:
    if isinstance(budgets, Mapping):
        return tuple(Budget.of(name, value) for name, value in budgets.items())
    return tuple(budgets)
