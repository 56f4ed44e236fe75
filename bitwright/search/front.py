"""The front solver: every non-dominated total of loss against one cost, or several to an error."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import FrontProposal, Proposal, SolverTraits, SolveSession
from bitwright.search.exact import solve_general
from bitwright.search.general.boxes import boxed_front
from bitwright.search.one_budget.front_lists import MergedLists, merged_lists
from bitwright.search.one_budget.hull import HullFront, hull_front
from bitwright.search.one_budget.knapsack import groups_for, limit_of, without_budget
from bitwright.search.reduction import ChoiceTable, Groups, Integers, priced


class FrontSolver:
    """Finds the whole front of loss against one cost by merging lists of partial answers [NU1969].

    With an allowed error the lists are thinned, or the front's convex hull is given where that is
    enough. `effort.states` limits the length of a list; without it that is 4,194,304, or less so that
    all lists together stay below 67,108,864 states, some 400 MB. Where a list would be longer it is
    thinned, or the hull is given if that is closer, and the front comes with the error that it has;
    likewise the hull where `effort.seconds` run out. The seed is not used.

    Over several costs, under budgets on other costs, and with pairwise terms, boxes of budgets are
    divided until the allowed error is met; `effort.states` then limits the budgets that are tried.

    .. [NU1969] Nemhauser, Ullmann: Discrete dynamic programming and capital allocation. Management
       Science 15(9), 1969.
    """

    name = "front"
    traits = SolverTraits(
        exact=True, several_budgets=True, pairwise=True, side_ties=True, peaks=True
    )

    def front(
        self,
        problem: AllocationProblem,
        costs: Sequence[str],
        session: SolveSession,
        epsilon: float = 0.0,
    ) -> FrontProposal:
        """Propose the front against some costs; raises `UnsupportedProblemError` for a peak cost."""
        if not _is_knapsack(problem, costs):
            return boxed_front(problem, costs, session, epsilon)
        search = _Fronts(problem, costs[0])
        if 0 < search.hull.epsilon <= epsilon:
            return search.from_hull()
        lists = search.lists(session, epsilon * search.hull.span)
        return search.from_hull() if lists is None else search.from_lists(lists)

    def solve(self, problem: AllocationProblem, session: SolveSession) -> Proposal:
        """Propose the end of the front within the budgets; `exact` is quicker at that."""
        cost = next(iter(problem.budgets), None)
        if not _is_knapsack(problem, [] if cost is None else [cost]):
            return solve_general(problem, session)
        if cost is None:
            return without_budget(problem)
        if limit_of(problem, cost) < problem.once(front_table, cost)[1].base:
            return Proposal(None, complete=True)
        search = _Fronts(problem, cost)
        lists = search.lists(session, 0.0)
        if lists is None:
            last = np.array([len(search.hull.cost) - 1])
            selection = search.selections(search.hull.rows(last))[0]
            return Proposal(selection, complete=False, lower_bound=search.hull.bound)
        selection = search.selections(lists.rows(np.array([len(lists.cost) - 1])))[0]
        if not lists.error:
            return _proved(problem, selection)
        bound = max(math.fsum(problem.loss[selection]) - lists.error, search.hull.bound)
        return Proposal(selection, complete=False, lower_bound=bound)


def _is_knapsack(problem: AllocationProblem, costs: Sequence[str]) -> bool:
    """Whether nothing but ties stands beside one cost that is summed over layers."""
    peaks = {peak.cost for peak in problem.peaks} & {*costs, *problem.budgets}
    others = set(problem.budgets) - set(costs)
    return len(costs) <= 1 and not (problem.interactions or peaks or others)


def front_table(problem: AllocationProblem, cost: str) -> tuple[Groups, ChoiceTable]:
    """The groups that all ties leave and their undominated rows; to be worked out `problem.once`."""
    groups = problem.once(groups_for, cost)
    return groups, priced(groups, cost).undominated()


class _Fronts:
    """A problem as the front solver sees it within its budget, if that is on the front's cost."""

    def __init__(self, problem: AllocationProblem, cost: str) -> None:
        self._problem, self._cost = problem, cost
        self._groups, self._table = problem.once(front_table, cost)
        self._capacity: int | None = None
        if cost in problem.budgets:
            self._capacity = limit_of(problem, cost) - self._table.base
            self._table = self._table.within(self._capacity)
        self.hull: HullFront = hull_front(self._table, self._capacity)

    def lists(self, session: SolveSession, allowed_loss: float) -> MergedLists | None:
        """The merged lists, if the effort is enough for them to come closer than the hull."""
        return merged_lists(self._table, self._capacity, session, allowed_loss, self.hull.error)

    def selections(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The problem's selections for rows of the table, shape (..., N)."""
        return self._groups.selection(self._table.row[rows])

    def from_lists(self, lists: MergedLists) -> FrontProposal:
        """The front that the merged lists make."""
        span = self.hull.span
        return FrontProposal(
            cost_values=self._believed_costs(lists.cost),
            losses=lists.losses,
            selections=lambda points: self.selections(lists.rows(points)),
            exact=not lists.error,
            epsilon=lists.error / span if span > 0 else 0.0,
        )

    def from_hull(self) -> FrontProposal:
        """The front's convex hull."""
        return FrontProposal(
            cost_values=self._believed_costs(self.hull.cost),
            losses=self.hull.loss,
            selections=lambda points: self.selections(self.hull.rows(points)),
            exact=False,
            epsilon=self.hull.epsilon,
        )

    def _believed_costs(self, units: Integers) -> NDArray[np.float64]:
        column = self._problem.costs[self._cost]
        fixed = float(self._problem.fixed_costs.get(self._cost, 0))
        total = units.astype(np.float64)[:, None] + self._table.base
        return total / 10.0**column.digits + fixed


def _proved(problem: AllocationProblem, selection: NDArray[np.int64]) -> Proposal:
    return Proposal(selection, complete=True, lower_bound=math.fsum(problem.loss[selection]))
