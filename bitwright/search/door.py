"""The one door to every solver: it resolves budgets, asks, and recomputes and judges the answer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from bitwright.problems.budgets import Budget
from bitwright.problems.errors import InputError, UntrueAnswerError, nearest
from bitwright.problems.front import ParetoFront
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import (
    Effort,
    HasFront,
    MeasuredObjective,
    Proposal,
    Solver,
    SolveSession,
)
from bitwright.problems.solution import Solution, Status
from bitwright.search.admission import admit, require_installed
from bitwright.search.budgets import binding, resolve
from bitwright.search.explain import contradiction, unreachable, worded
from bitwright.search.fronts import assembled, sweep, swept
from bitwright.search.judgement import judged, without_answer
from bitwright.search.reach import Reaches


def solve(
    problem: AllocationProblem,
    solver: Solver,
    *,
    budgets: Iterable[Budget] = (),
    effort: Effort = Effort(),
    seed: int = 0,
    objective: MeasuredObjective | None = None,
) -> Solution:
    """Find a configuration of least loss within the budgets, with its certificate.

    Budgets of the problem hold unless one of `budgets` names the same cost. Loss, costs, slack and
    status are the door's own: of the solver only its selection, its bound and whether its search
    is complete are taken, and an answer that does not hold raises `UntrueAnswerError`. What the
    solver's traits do not take raises `UnsupportedProblemError`.
    """
    started = time.perf_counter()
    require_installed(solver)
    reaches = Reaches(problem)
    limits = resolve(problem, budgets, reaches)
    problem = problem.with_budgets(limits)
    if why := unreachable(limits, reaches, problem):
        solution = replace(
            without_answer(problem, solver, Proposal(None, complete=True), seed),
            status=Status.INFEASIBLE,
            explanation=why,
        )
    else:
        asked = problem.with_budgets(binding(limits, reaches))
        admit(asked, solver, objective)
        session = SolveSession(np.random.default_rng(seed), effort, objective)
        proposal = solver.solve(asked, session)
        solution = judged(problem, solver, proposal, seed)
        if solution.status is Status.INFEASIBLE:
            solution = _explained(solution, asked, solver, reaches)
    return replace(solution, seconds=time.perf_counter() - started)


def front(
    problem: AllocationProblem,
    costs: Sequence[str],
    solver: Solver,
    *,
    budgets: Iterable[Budget] = (),
    points: int | None = None,
    epsilon: float = 0.0,
    effort: Effort = Effort(),
    seed: int = 0,
    objective: MeasuredObjective | None = None,
) -> ParetoFront:
    """Find the front of loss against costs within the budgets, empty where nothing meets them.

    Solvers without a front of their own sweep budgets on the first cost. `epsilon` is the error
    that a solver with a front may make, as `ParetoFront` defines it. Without `points` all points
    come, without configurations; with it that many, spread over the front, with configurations.
    """
    _check_front_request(problem, costs, points, epsilon)
    require_installed(solver)
    reaches = Reaches(problem)
    limits = resolve(problem, budgets, reaches)
    problem = problem.with_budgets(limits)
    if unreachable(limits, reaches, problem):
        nothing = np.empty((0, len(costs)))
        return ParetoFront(
            problem.name, solver.name, tuple(costs), nothing, np.empty(0), exact=True, epsilon=0.0
        )
    if isinstance(solver, HasFront):
        asked = problem.with_budgets(binding(limits, reaches))
        admit(asked, solver, objective)
        session = SolveSession(np.random.default_rng(seed), effort, objective)
        proposal = solver.front(asked, costs, session, epsilon)
        return assembled(problem, solver.name, costs, proposal, points)
    solutions = [
        solve(problem, solver, budgets=amounts, effort=effort, seed=seed, objective=objective)
        for amounts in sweep(problem, costs, reaches, points)
    ]
    return swept(problem, solver.name, costs, solutions, points)


def _explained(
    solution: Solution, asked: AllocationProblem, solver: Solver, reaches: Reaches
) -> Solution:
    """An infeasible solution that says why; refused where the cheapest configuration is an answer."""
    one_sided = any(tie.side != "all" for tie in asked.ties)
    alone = [reaches.known(name) is not None for name in asked.budgets]
    if alone == [True] or (not alone and not one_sided):
        raise UntrueAnswerError(
            f"solver {solver.name!r} claims that no configuration meets "
            f"{' and '.join(asked.budgets) or 'no budget'}, but the cheapest one does"
        )
    return replace(
        solution, explanation=solution.explanation or worded(asked, contradiction(asked))
    )


def _check_front_request(
    problem: AllocationProblem, costs: Sequence[str], points: int | None, epsilon: float
) -> None:
    if not costs or len(set(costs)) != len(costs):
        raise InputError(f"a front needs one or more different costs, got {list(costs)}")
    for cost in costs:
        if cost not in problem.cost_names:
            known = nearest(cost, problem.cost_names)
            raise InputError(f"front against unknown cost {cost!r}; {known}")
    if points is not None and points < 1:
        raise InputError(f"points must be 1 or more, got {points}")
    if not 0 <= epsilon < 1:
        raise InputError(f"epsilon must be from 0 to below 1, got {epsilon}")
