"""One budget and nothing but ties: the multiple-choice knapsack problem, solved to proved optimality."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Proposal, SolveSession
from bitwright.search.core import Core
from bitwright.search.core_search import CoreAnswer, search_core
from bitwright.search.reduction import Groups, merge_ties
from bitwright.search.relaxation import relax
from bitwright.search.sides import merge_sides

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
    groups = problem.once(groups_for, cost)
    if cost is None:
        return _proposal(problem, groups.selection(groups.least_loss()))
    relaxation = relax(groups, cost, limit_of(problem, cost))
    if relaxation is None:
        return Proposal(None, complete=True)
    if not math.isfinite(relaxation.extent):
        return Proposal(groups.selection(relaxation.picked), complete=False)
    answer = search_core(Core(groups, cost, relaxation), session)
    proposal = _proposal(problem, groups.selection(answer.picked), answer)
    if proposal.complete or answer.gap:
        return proposal
    answer = search_core(Core(groups, cost, relaxation, answer.picked), session)
    return _proposal(problem, groups.selection(answer.picked), answer)


def groups_for(problem: AllocationProblem, cost: str | None) -> Groups:
    """The groups that all ties leave, for one cost or none; to be worked out `problem.once`."""
    return merge_sides(problem, merge_ties(problem), cost)


def limit_of(problem: AllocationProblem, cost: str) -> int:
    """Units that the budget of a cost leaves above the fixed cost."""
    budget = problem.budgets[cost]
    if cost in problem.fixed_costs:
        budget -= problem.fixed_costs[cost]
    return problem.costs[cost].in_units(budget)


def _proposal(
    problem: AllocationProblem, selection: NDArray[np.int64], answer: CoreAnswer | None = None
) -> Proposal:
    loss = math.fsum(problem.loss[selection].tolist())
    if answer is None or (
        answer.certain and answer.gap == 0.0 and answer.rounding <= _CERTAIN * abs(loss)
    ):
        return Proposal(selection, complete=True, lower_bound=loss)
    return Proposal(selection, complete=False, lower_bound=loss - answer.gap - answer.rounding)
