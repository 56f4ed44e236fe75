"""The front solver: every non-dominated total of loss against one cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import UnsupportedProblemError
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import FrontProposal, Proposal, SolverTraits, SolveSession
from bitwright.search.hull import HullFront, hull_front
from bitwright.search.knapsack import capacity_of
from bitwright.search.lists import Trail, as_integers, undominated
from bitwright.search.reduction import ChoiceTable, Groups, Integers, choice_table, merge_ties
from bitwright.search.sides import merge_sides


class FrontSolver:
    """Finds the whole front of loss against one cost by merging lists of partial answers [NU1969].

    Losses that differ by less than 2**-60 of what the dearest choices can add up to count as equal.
    With an allowed error the lists are thinned, or the front's convex hull is given where that is
    enough. `effort.states` limits the length of a list and `effort.seconds` the time; where either
    cuts in, the hull is given with the error that it has. The seed is not used.

    .. [NU1969] Nemhauser, Ullmann: Discrete dynamic programming and capital allocation. Management
       Science 15(9), 1969.
    """

    name = "front"
    traits = SolverTraits(exact=True, side_ties=True)

    def front(
        self,
        problem: AllocationProblem,
        costs: Sequence[str],
        session: SolveSession,
        epsilon: float = 0.0,
    ) -> FrontProposal:
        """Propose the front against one cost; a budget may stand on that cost only."""
        cost = self._only_cost(problem, costs)
        groups = merge_sides(problem, merge_ties(problem), cost)
        table, capacity = _table_within_budget(problem, groups, cost)
        hull = hull_front(table, capacity)
        if 0 < hull.epsilon <= epsilon:
            return _from_hull(problem, groups, table, hull, cost)
        lists = merged_lists(table, capacity, session, _allowed_loss(hull, epsilon))
        if lists is None:
            return _from_hull(problem, groups, table, hull, cost)
        return FrontProposal(
            cost_values=_believed_costs(problem, table, cost, lists.cost),
            losses=lists.loss * np.float64(lists.loss_unit),
            selections=lambda points: _selections(groups, table, lists.positions(points)),
            exact=lists.thinned == 0,
            epsilon=min(lists.thinned / _span(hull), epsilon) if lists.thinned else 0.0,
        )

    def solve(self, problem: AllocationProblem, session: SolveSession) -> Proposal:
        """Propose the end of the front within the problem's budget; `exact` is quicker at that."""
        cost = next(iter(problem.budgets), None)
        groups = merge_sides(problem, merge_ties(problem), cost)
        if cost is None:
            return _proved(problem, groups.selection(groups.least_loss()))
        if capacity_of(problem, choice_table(groups, cost), cost) < 0:
            return Proposal(None, complete=True)
        table, capacity = _table_within_budget(problem, groups, cost)
        lists = merged_lists(table, capacity, session)
        if lists is not None:
            last = lists.positions(np.array([len(lists.cost) - 1]))
            return _proved(problem, _selections(groups, table, last)[0])
        hull = hull_front(table, capacity)
        last = hull.positions(np.array([len(hull.cost) - 1]))
        return Proposal(_selections(groups, table, last)[0], complete=False, lower_bound=hull.bound)

    def _only_cost(self, problem: AllocationProblem, costs: Sequence[str]) -> str:
        if len(costs) != 1 or costs[0] not in problem.costs:
            raise UnsupportedProblemError(
                f"solver {self.name!r} takes one cost that is summed over layers, got {list(costs)}; "
                "solver 'ilp' sweeps budgets of several"
            )
        if others := sorted(set(problem.budgets) - set(costs)):
            raise UnsupportedProblemError(
                f"solver {self.name!r} takes a budget on the front's own cost {costs[0]!r} only, "
                f"got {others}; solver 'ilp' sweeps under any"
            )
        return costs[0]


@dataclass(frozen=True, eq=False)
class MergedLists:
    """The last list: totals by rising cost, in units above the cheapest, and falling loss.

    `thinned` is the most by which a dropped total may lose less than a kept one that costs no more.
    """

    cost: Integers
    loss: NDArray[np.int64]
    loss_unit: float
    thinned: float
    order: NDArray[np.int64]
    groups: int
    trail: Trail

    def positions(self, points: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions in the table's lines behind some totals, shape (len(points), G)."""
        positions = np.zeros((len(points), self.groups), dtype=np.int64)
        positions[:, self.order] = self.trail.choices(points)
        return positions


def merged_lists(
    table: ChoiceTable, capacity: int | None, session: SolveSession, allowed_loss: float = 0.0
) -> MergedLists | None:
    """Merge the groups' choices into one list of totals, groups of large cost range first.

    Each list may be thinned by its share of `allowed_loss`. None when a limit of the effort cuts
    in.
    """
    order = np.argsort(-table.cost[:, -1], kind="stable")
    losses, unit = as_integers(table.loss)
    width = math.floor(allowed_loss / unit / max(len(order), 1))
    trail = Trail()
    cost: Integers = np.zeros(1, dtype=table.cost.dtype)
    loss = np.zeros(1, dtype=np.int64)
    limit = session.effort.states or math.inf
    for g in order:
        size, count = len(cost), table.count[g]
        costs = (table.cost[g, :count, None] + cost).ravel()
        kept = np.arange(len(costs)) if capacity is None else np.flatnonzero(costs <= capacity)
        costs = costs[kept]
        totals = (losses[g, :count, None] + loss).ravel()[kept]
        states = undominated(costs, totals)
        if width:
            states = states[_thinned(totals[states], width)]
        cost, loss = costs[states], totals[states]
        trail.append(kept[states] % size, kept[states] // size)
        if len(cost) > limit or session.out_of_time():
            return None
    thinned = width * len(order) * unit
    return MergedLists(cost, loss, unit, thinned, order, len(order), trail)


def _thinned(loss: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Of falling losses the first in every interval of a width, and the last of all."""
    interval = (loss[0] - loss) // width
    kept = np.flatnonzero(np.diff(interval, prepend=-1))
    return kept if kept[-1] == len(loss) - 1 else np.append(kept, len(loss) - 1)


def _table_within_budget(
    problem: AllocationProblem, groups: Groups, cost: str
) -> tuple[ChoiceTable, int | None]:
    """The table of one cost, and the units that its budget leaves above the cheapest choices."""
    table = choice_table(groups, cost)
    if cost not in problem.budgets:
        return table, None
    capacity = capacity_of(problem, table, cost)
    return table.within(capacity), capacity


def _span(hull: HullFront) -> float:
    return float(hull.loss[0] - hull.loss[-1])


def _allowed_loss(hull: HullFront, epsilon: float) -> float:
    return epsilon * _span(hull)


def _believed_costs(
    problem: AllocationProblem, table: ChoiceTable, cost: str, units: Integers
) -> NDArray[np.float64]:
    column = problem.costs[cost]
    fixed = float(problem.fixed_costs.get(cost, 0))
    return (units.astype(np.float64)[:, None] + table.base) / 10.0**column.digits + fixed


def _selections(
    groups: Groups, table: ChoiceTable, positions: NDArray[np.int64]
) -> NDArray[np.int64]:
    rows = table.row[np.arange(table.row.shape[0]), positions]
    return groups.selection(rows)


def _from_hull(
    problem: AllocationProblem, groups: Groups, table: ChoiceTable, hull: HullFront, cost: str
) -> FrontProposal:
    return FrontProposal(
        cost_values=_believed_costs(problem, table, cost, hull.cost),
        losses=hull.loss,
        selections=lambda points: _selections(groups, table, hull.positions(points)),
        exact=False,
        epsilon=hull.epsilon,
    )


def _proved(problem: AllocationProblem, selection: NDArray[np.int64]) -> Proposal:
    return Proposal(selection, complete=True, lower_bound=math.fsum(problem.loss[selection]))
