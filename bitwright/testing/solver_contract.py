"""The contract that every solver keeps; subclass `SolverContract` and give it a `solver` fixture."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import pytest

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import UnsupportedProblemError
from bitwright.problems.exact import plain
from bitwright.problems.front import ParetoFront
from bitwright.problems.problem import AllocationProblem, LayerChoices
from bitwright.problems.protocols import HasFront, Solver
from bitwright.problems.solution import Solution, Status
from bitwright.problems.terms import Interaction, Peak
from bitwright.problems.ties import Tie
from bitwright.search.door import front, solve
from bitwright.testing.fronts import check_front
from bitwright.testing.known_cases import KNOWN_CASES, KnownCase

_INFEASIBLE = [case for case in KNOWN_CASES if case.name.startswith("infeasible")]
_NO_INTEGER_ANSWER = [case for case in KNOWN_CASES if case.name.startswith("no integer answer")]
_FEASIBLE = [case for case in KNOWN_CASES if case not in _INFEASIBLE + _NO_INTEGER_ANSWER]
_WITH_FRONT = [case for case in _FEASIBLE if not case.published_bits]


def _each(cases: Sequence[KnownCase]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


each_case = _each(_FEASIBLE)


class TableObjective:
    """The loss of a problem's own table, for solvers that evaluate a network."""

    def __init__(self, problem: AllocationProblem) -> None:
        self._problem = problem

    def evaluate(self, configuration: BitConfiguration) -> float:
        """The loss of one configuration."""
        return self._problem.evaluate(self._problem.selection(configuration)).loss


class SolverContract:
    """Tests that a solver keeps its word on problems whose optimum is known.

    A case is skipped only where the solver's traits do not take it.
    """

    @pytest.fixture
    def solver(self) -> Solver:
        """The solver under test; subclasses override this."""
        raise NotImplementedError("a SolverContract needs a `solver` fixture")

    @each_case
    def test_budgets_and_ties_hold(self, solver: Solver, case: KnownCase) -> None:
        """Costs, slack and ties, recomputed here from the configuration, are as reported."""
        solution = _solved(solver, case)
        if solution.configuration is None:
            return
        selection = case.problem.selection(solution.configuration)
        evaluation = case.problem.evaluate(selection)
        assert evaluation.over_budget(case.problem.budgets) == {}
        assert case.problem.broken_ties(selection) == []
        assert solution.loss == evaluation.loss
        for name, cost in evaluation.costs.items():
            assert solution.costs[name] == plain(cost)

    @each_case
    def test_optimum(self, solver: Solver, case: KnownCase) -> None:
        """No answer is below the optimum, and those of exact solvers meet it."""
        solution = _solved(solver, case)
        assert case.optimum is not None
        assert solution.loss >= case.optimum - case.tolerance
        if solver.traits.exact:
            assert solution.loss <= case.optimum + case.tolerance
        if solver.traits.exact and case.published_bits:
            assert solution.configuration is not None
            bits = [p.weight_bits for p in solution.configuration.values()]
            assert tuple(bits) == case.published_bits

    @each_case
    def test_status_is_true(self, solver: Solver, case: KnownCase) -> None:
        """Bounds hold for the optimum, and `optimal` is said of nothing else."""
        solution = _solved(solver, case)
        assert case.optimum is not None
        assert solution.status is not Status.INFEASIBLE
        assert solution.lower_bound <= case.optimum + case.tolerance
        if solution.status is Status.OPTIMAL:
            assert solution.loss == pytest.approx(case.optimum, abs=case.tolerance)

    @_each(_INFEASIBLE)
    def test_infeasible_is_explained(self, solver: Solver, case: KnownCase) -> None:
        """Budgets that nothing meets give no configuration, and an explanation that names them."""
        solution = _solved(solver, case)
        assert case.optimum is None
        assert solution.configuration is None
        if solver.traits.exact:
            assert solution.status is Status.INFEASIBLE
            assert all(name in (solution.explanation or "") for name in case.problem.budgets)

    @_each(_NO_INTEGER_ANSWER)
    def test_not_proved_is_not_called_infeasible(self, solver: Solver, case: KnownCase) -> None:
        """Where only fractions of choices meet the budgets, that is proved or said to be unproved."""
        solution = _solved(solver, case)
        assert case.optimum is None
        assert solution.configuration is None
        if solver.traits.exact and solution.status is Status.STOPPED:
            assert "not proved" in (solution.explanation or "")

    @pytest.mark.parametrize("costs", [1, 2])
    @_each(_WITH_FRONT)
    def test_front_is_true(self, solver: Solver, case: KnownCase, costs: int) -> None:
        """A front's points hold, none dominates another, and it is as near to the true one as said."""
        names = case.problem.cost_names[:costs]
        if len(names) < costs:
            pytest.skip(f"the problem has not {costs} costs")
        check_front(_front(solver, case, names, points=4), case.problem)
        if isinstance(solver, HasFront):
            check_front(_front(solver, case, names), case.problem)

    @each_case
    def test_same_seed_same_answer(self, solver: Solver, case: KnownCase) -> None:
        """Solved twice with one seed, the answer is the same."""
        first, second = (_solved(solver, case, seed=7) for _ in range(2))
        assert first.configuration == second.configuration
        assert first.lower_bound == second.lower_bound

    def test_same_answer_in_another_process(self, solver: Solver) -> None:
        """A spawned process, with its own hash seed, comes to the same answer."""
        case = next(c for c in KNOWN_CASES if c.published_bits)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            elsewhere = pool.submit(_solved, solver, case, 7).result()
        assert elsewhere.configuration == _solved(solver, case, seed=7).configuration

    @each_case
    def test_problem_is_unchanged(self, solver: Solver, case: KnownCase) -> None:
        """Solving leaves the problem as it was."""
        before = pickle.loads(pickle.dumps(case.problem))
        _solved(solver, case)
        assert case.problem == before

    @each_case
    def test_solution_pickles(self, solver: Solver, case: KnownCase) -> None:
        """Solutions travel between processes unharmed."""
        solution = _solved(solver, case)
        assert pickle.loads(pickle.dumps(solution)) == solution

    @each_case
    def test_more_budget_never_hurts(self, solver: Solver, case: KnownCase) -> None:
        """Raising every budget by a fifth never raises the loss of an exact solver."""
        if not solver.traits.exact:
            pytest.skip("the solver is not exact")
        more = {name: budget * 6 / 5 for name, budget in case.problem.budgets.items()}
        raised = KnownCase(case.name, case.problem.with_budgets(more))
        assert _solved(solver, raised).loss <= _solved(solver, case).loss + case.tolerance

    @each_case
    def test_names_and_order_of_layers_change_no_loss(
        self, solver: Solver, case: KnownCase
    ) -> None:
        """New names never change the loss; nor does another order, where the solver is exact."""
        order = range(len(case.problem))
        if solver.traits.exact:
            order = order[::-1]
        other = KnownCase(case.name, _relabelled(case.problem, order))
        assert _solved(solver, other).loss == pytest.approx(
            _solved(solver, case).loss, abs=case.tolerance
        )


def _solved(solver: Solver, case: KnownCase, seed: int = 0) -> Solution:
    if not case.suits(solver.traits):
        pytest.skip(f"solver {solver.name!r} does not take it by its traits")
    objective = TableObjective(case.problem) if solver.traits.evaluates else None
    return solve(case.problem, solver, seed=seed, objective=objective)


def _front(
    solver: Solver, case: KnownCase, costs: Sequence[str], points: int | None = None
) -> ParetoFront:
    if not case.suits(solver.traits):
        pytest.skip(f"solver {solver.name!r} does not take it by its traits")
    objective = TableObjective(case.problem) if solver.traits.evaluates else None
    try:
        return front(case.problem, costs, solver, points=points, objective=objective)
    except UnsupportedProblemError as error:
        pytest.skip(str(error))


def _relabelled(problem: AllocationProblem, order: range) -> AllocationProblem:
    """The problem with its layers in another order and under other names."""
    new = {name: f"renamed-{name}" for name in problem.layers}
    layers = [LayerChoices(new[problem.layers[i]], problem.choices(i)) for i in order]
    return AllocationProblem.from_layers(
        problem.name,
        layers,
        ties=[Tie(tuple(new[n] for n in tie.layers), tie.side) for tie in problem.ties],
        interactions=[
            Interaction((new[t.layers[0]], new[t.layers[1]]), t.loss, t.costs)
            for t in problem.interactions
        ],
        peaks=[
            Peak(p.cost, tuple({new[n]: v for n, v in step.items()} for step in p.steps))
            for p in problem.peaks
        ],
        fixed_costs=problem.fixed_costs,
        budgets=problem.budgets,
    )


__all__ = ["KNOWN_CASES", "KnownCase", "SolverContract", "TableObjective"]
