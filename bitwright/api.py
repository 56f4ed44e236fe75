"""The public functions: the same words as on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bitwright import plugins
from bitwright.comparison import Comparison, compared
from bitwright.plugin_files import PluginError
from bitwright.problems.budgets import Budget
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.device import Device
from bitwright.problems.errors import (
    BitwrightError,
    InputError,
    MissingDependencyError,
    UnsupportedProblemError,
)
from bitwright.problems.exact import Number
from bitwright.problems.formats import read_network, read_problem
from bitwright.problems.front import ParetoFront
from bitwright.problems.network import NetworkDescription
from bitwright.problems.placing import on_device, placed_front, placed_solution
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Effort, MeasuredObjective, Solver
from bitwright.problems.solution import Solution
from bitwright.search import door

if TYPE_CHECKING:
    from torch import nn

__all__ = ["apply", "compare", "front", "read_problem", "solve"]

Answer = TypeVar("Answer")
BudgetValues = Mapping[str, str | Number] | Iterable[Budget]

DEFAULT_SOLVERS = ("exact", "ilp")
DEFAULT_FRONT_SOLVERS = ("front", "exact", "ilp")
"""Where no solver is named, the first of these that takes the problem answers."""


def solve(
    problem: AllocationProblem | str | Path,
    *,
    budgets: BudgetValues = (),
    solver: str | Solver | None = None,
    effort: Effort = Effort(),
    seed: int = 0,
    objective: MeasuredObjective | None = None,
    device: Device | str | Path | None = None,
    network: NetworkDescription | str | Path | None = None,
) -> Solution:
    """Find the configuration of least loss within the budgets, with its certificate.

    `problem` is a problem or the path of a problem file. `budgets` maps cost names to limits, a
    number in the cost's unit or text such as `"50%"` or `"1.5MB"`; they stand beside those of the
    problem and replace those of the same name. `solver` is a solver or its name, with options as in
    `"ilp:pulp_solver=HiGHS"`; without one it is `exact`, or `ilp` where that refuses the problem, and
    the solution names it. With a `device`, by name or file, only choices that it stores are taken, and
    the solution says what they run as; `network`, a description or its file, tells the kinds of the
    layers. Raises `InputError` for bad input; a budget that nothing meets is a `Solution` of status
    `infeasible` that explains itself.

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
    device, network = _device(device), _network(network)
    if device is not None:
        problem = on_device(problem, device, network)

    def solved(solver: Solver) -> Solution:
        return door.solve(
            problem, solver, budgets=budgets, effort=effort, seed=seed, objective=objective
        )

    solution = _first_that_takes(DEFAULT_SOLVERS if solver is None else (solver,), solved)
    return solution if device is None else placed_solution(solution, device, network)


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
    device: Device | str | Path | None = None,
    network: NetworkDescription | str | Path | None = None,
) -> ParetoFront:
    """Find the Pareto front of loss against one or more costs.

    Without `points` every point found, without configurations; with it that many, spread over the
    front, with configurations. Without a `solver` it is `front`, or where that refuses, as with
    several costs, `exact` or `ilp` under a sweep of budgets; the front names it. `device` and
    `network` are those of `solve`.
    """
    problem, budgets = _problem(problem), _budgets(budgets)
    device, network = _device(device), _network(network)
    if device is not None:
        problem = on_device(problem, device, network)

    def found(solver: Solver) -> ParetoFront:
        return door.front(
            problem,
            tuple(costs),
            solver,
            budgets=budgets,
            points=points,
            epsilon=epsilon,
            effort=effort,
            seed=seed,
        )

    front = _first_that_takes(DEFAULT_FRONT_SOLVERS if solver is None else (solver,), found)
    return front if device is None else placed_front(front, device, network)


def compare(
    problem: AllocationProblem | str | Path,
    *,
    solvers: Sequence[str] | None = None,
    budgets: BudgetValues = (),
    effort: Effort = Effort(),
    seed: int = 0,
    repeat: int = 1,
    objective: MeasuredObjective | None = None,
    started: Callable[[str], None] | None = None,
) -> Comparison:
    """Solve one problem with several solvers and set their answers side by side.

    `solvers` are names, with options as in `solve`; without them all that are installed, but for
    those that need a measured objective where none is given. With a `repeat` above 1 each is run
    once to warm up, then that many times in turn, and its time is the median. A solver that refuses
    the problem, misses a library or gives an untrue answer is an entry with the reason; an unknown
    name or option raises `InputError`. `started` is called with the name of each as it begins.
    """
    problem, budgets = _problem(problem), _budgets(budgets)
    names = list(plugins.known("solvers")) if solvers is None else list(solvers)
    if not names:
        raise InputError("a comparison needs one solver or more, got none")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"solver {twice!r} is given twice")
    made = {name: _solver_or_error(name) for name in names}
    if solvers is None and objective is None:
        made = {n: s for n, s in made.items() if isinstance(s, Exception) or not s.traits.evaluates}

    def solved(solver: Solver) -> Solution:
        return door.solve(
            problem, solver, budgets=budgets, effort=effort, seed=seed, objective=objective
        )

    return compared(problem, made, solved, repeat, started)


def apply(
    model: nn.Module,
    answer: Solution | BitConfiguration | str | Path,
    batches: Iterable[tuple[Any, ...]] | None = None,
    *,
    weight_rule: str = "mse",
    activation_rule: str = "mse",
    estimator: str = "ste",
) -> nn.Module:
    """Return a trainable copy of the model that runs with the bits of a solution or solution file.

    `batches` yields the inputs of forward calls, each a tuple such as `(images,)` or one tensor; they
    give the ranges of the activations. Without them the ranges are those of the first batch that the
    copy is given, layer by layer. `estimator` names how gradients pass and what is trained beside the
    weights (docs/qat.md). The model itself is left as it was. Raises `InputError` for a solution
    without a configuration.
    """
    from bitwright.applying import quantized_model

    return quantized_model(
        model,
        answer,
        batches,
        weight_rule=weight_rule,
        activation_rule=activation_rule,
        estimator=estimator,
    )


def _problem(problem: AllocationProblem | str | Path) -> AllocationProblem:
    return problem if isinstance(problem, AllocationProblem) else read_problem(problem)


def _device(device: Device | str | Path | None) -> Device | None:
    if device is None or isinstance(device, Device):
        return device
    from bitwright.cost_models.devices import load_device

    return load_device(device)


def _network(network: NetworkDescription | str | Path | None) -> NetworkDescription | None:
    return read_network(network) if isinstance(network, str | Path) else network


def _first_that_takes(solvers: Sequence[str | Solver], ask: Callable[[Solver], Answer]) -> Answer:
    """The answer of the first solver that does not refuse the problem, or the last refusal."""
    *others, last = solvers
    for solver in others:
        with suppress(UnsupportedProblemError):
            return ask(_solver(solver))
    return ask(_solver(last))


def _solver(solver: str | Solver) -> Solver:
    """The solver of a text `NAME[:OPTION=VALUE...]`, its options checked; a solver as it is."""
    if not isinstance(solver, str):
        return solver
    name, options = plugins.parse("solvers", solver)
    made: Solver = plugins.create("solvers", name, options)
    return made


def _solver_or_error(name: str) -> Solver | BitwrightError:
    """The solver, or what is wrong with its installation."""
    try:
        return _solver(name)
    except (PluginError, MissingDependencyError) as error:
        return error


def _budgets(budgets: BudgetValues) -> tuple[Budget, ...]:
    if isinstance(budgets, Mapping):
        return tuple(Budget.of(name, value) for name, value in budgets.items())
    return tuple(budgets)
