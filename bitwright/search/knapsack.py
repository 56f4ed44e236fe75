"""One budget and nothing but ties: the multiple-choice knapsack problem, solved to proved optimality."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Proposal, SolveSession
from bitwright.search.core import core_of, search_core
from bitwright.search.reduction import ChoiceTable, choice_table, merge_ties
from bitwright.search.relaxation import relax
from bitwright.search.sides import merge_sides


def solve_knapsack(problem: AllocationProblem, session: SolveSession) -> Proposal:
    """Propose the selection of least loss within the problem's only budget, if it has one.

    Ties are merged and dominated choices dropped; a Lagrangian relaxation gives an answer, a bound
    and a penalty for every other choice; what the penalties leave open is searched by lists of
    partial answers. `effort.states` limits the length of a list, `effort.seconds` the time; where
    either cuts in, the answer comes with the gap that is left.
    """
    cost = next(iter(problem.budgets), None)
    groups = merge_sides(problem, merge_ties(problem), cost)
    if cost is None:
        return _proposal(problem, groups.selection(groups.least_loss()))
    table = choice_table(groups, cost)
    capacity = capacity_of(problem, table, cost)
    if capacity < 0:
        return Proposal(None, complete=True)
    picked, gap, complete = _best_positions(table.within(capacity), capacity, session)
    rows = np.take_along_axis(table.row, picked[:, None], 1)[:, 0]
    return _proposal(problem, groups.selection(rows), gap, complete)


def capacity_of(problem: AllocationProblem, table: ChoiceTable, cost: str) -> int:
    """Units that the budget leaves above the cheapest choices and the fixed cost."""
    budget = problem.budgets[cost] - problem.fixed_costs.get(cost, 0)
    return problem.costs[cost].in_units(budget) - table.base


def _best_positions(
    table: ChoiceTable, capacity: int, session: SolveSession
) -> tuple[NDArray[np.int64], float, bool]:
    """Positions in the table, the gap that is left, and whether the search ended by itself."""
    if int(table.cost[:, -1].sum()) <= capacity:
        return table.count - 1, 0.0, True
    relaxation = relax(table, capacity)
    answer = search_core(core_of(table, relaxation), relaxation, session)
    return answer.picked, answer.gap + relaxation.rounding, answer.complete


def _proposal(
    problem: AllocationProblem,
    selection: NDArray[np.int64],
    gap: float = 0.0,
    complete: bool = True,
) -> Proposal:
    loss = math.fsum(problem.loss[selection])
    return Proposal(selection, complete, lower_bound=loss if complete else loss - gap)
