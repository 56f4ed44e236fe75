"""One budget and nothing but ties: the multiple-choice knapsack problem, solved to proved optimality."""

from __future__ import annotations

import math

from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Proposal, SolveSession
from bitwright.search.one_budget.core import Core
from bitwright.search.one_budget.core_search import CoreAnswer, search_core
from bitwright.search.one_budget.relaxation import relax
from bitwright.search.one_budget.sides import merge_sides
from bitwright.search.reduction import Groups, merge_ties

_MOST_EXACT = 2**18
_CERTAIN = 1e-12
"""An answer counts as proved where rounding leaves less than this share of its loss open."""


def solve_knapsack(problem: AllocationProblem, session: SolveSession) -> Proposal:
    """Propose the selection of least loss within the problem's only budget, if it has one.

    Ties are merged; a Lagrangian relaxation gives an answer, a bound and a penalty for every other
    choice; what the penalties leave open is searched by lists of partial answers. Where rounding
    leaves an answer in doubt, the search is done once more in exact integers. `effort.states` limits
    the length of a list (1,048,576 without it) and, 32 times over, the states that are looked at in
    all; `effort.seconds` limits the time. Where one of them cuts in, the answer comes with the gap
    that is left. Memory is linear in the choices and in the states.
    """
    cost = next(iter(problem.budgets), None)
    if cost is None:
        return without_budget(problem)
    groups = problem.once(groups_for, cost)
    relaxation = relax(groups, cost, limit_of(problem, cost))
    if relaxation is None:
        return Proposal(None, complete=True)
    if not math.isfinite(relaxation.extent):
        return Proposal(groups.selection(relaxation.picked), complete=False)
    answer = search_core(Core(groups, cost, relaxation), session)
    proposal = _proposal(problem, groups, answer)
    if proposal.complete or answer.gap or len(groups.loss) > _MOST_EXACT:
        return proposal
    picked = answer.picked
    if groups.rounding:
        groups = problem.once(groups_for, cost, True)
        relaxation = relax(groups, cost, limit_of(problem, cost)) or relaxation
        picked = relaxation.picked
    answer = search_core(Core(groups, cost, relaxation, picked), session)
    return _proposal(problem, groups, answer, exact=True)


def without_budget(problem: AllocationProblem) -> Proposal:
    """Propose the selection of least loss where there is no budget."""
    groups = problem.once(groups_for, None)
    if groups.rounding:
        groups = problem.once(groups_for, None, True)
    selection = groups.selection(groups.least_loss())
    return Proposal(selection, complete=True, lower_bound=math.fsum(problem.loss[selection]))


def groups_for(problem: AllocationProblem, cost: str | None, exact: bool = False) -> Groups:
    """The groups that all ties leave, for one cost or none; to be worked out `problem.once`."""
    return merge_sides(problem, merge_ties(problem), cost, exact)


def limit_of(problem: AllocationProblem, cost: str) -> int:
    """Units that the budget of a cost leaves above the fixed cost."""
    budget = problem.budgets[cost]
    if cost in problem.fixed_costs:
        budget -= problem.fixed_costs[cost]
    return problem.costs[cost].in_units(budget)


def _proposal(
    problem: AllocationProblem, groups: Groups, answer: CoreAnswer, exact: bool = False
) -> Proposal:
    """An answer as a proposal; after an exact search only what ties round is left in doubt."""
    selection = groups.selection(answer.picked)
    losses = problem.loss[selection].tolist()
    loss = math.fsum(losses)
    rounding = answer.rounding + groups.rounding
    size = math.fsum(map(abs, losses)) if exact else abs(loss)
    if answer.certain and answer.gap == 0.0 and rounding <= _CERTAIN * size:
        return Proposal(selection, complete=True, lower_bound=loss)
    return Proposal(selection, complete=False, lower_bound=loss - answer.gap - rounding)
