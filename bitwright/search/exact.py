"""The exact solver: a proved optimum, or a certified gap."""

from __future__ import annotations

from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Proposal, SolverTraits, SolveSession
from bitwright.search.gap_search import search_gap
from bitwright.search.knapsack import solve_knapsack
from bitwright.search.lagrangian_oracle import ModelOracle
from bitwright.search.landscape import Landscape
from bitwright.search.modelling import model_of
from bitwright.search.multipliers import best_multipliers


class ExactSolver:
    """Proves the best configuration within the budgets; the seed is not used.

    `effort.states` limits the length of a list of partial answers, `effort.seconds` the time; where
    either cuts in, the answer comes with the gap that is left.
    """

    name = "exact"
    traits = SolverTraits(
        exact=True, several_budgets=True, pairwise=True, side_ties=True, peaks=True
    )

    def solve(self, problem: AllocationProblem, session: SolveSession) -> Proposal:
        """Propose the selection of least loss within the problem's budgets, if it has one."""
        peaks = any(peak.cost in problem.budgets for peak in problem.peaks)
        if len(problem.budgets) <= 1 and not problem.interactions and not peaks:
            return solve_knapsack(problem, session)
        return solve_general(problem, session)


def solve_general(problem: AllocationProblem, session: SolveSession) -> Proposal:
    """Propose the selection of least loss within any budgets, ties, pairwise terms and peaks."""
    model = model_of(problem)
    if not model.counts.all() or (len(model.limits) and int(model.limits.min()) < 0):
        return Proposal(None, complete=True)
    oracle = ModelOracle(model)
    multipliers = best_multipliers(oracle)
    if not multipliers.reachable:
        return Proposal(None, complete=True)
    landscape = Landscape(oracle, multipliers)
    found = search_gap(landscape, session)
    if found.options is None:
        return Proposal(None, complete=found.complete, lower_bound=found.bound)
    selection = model.selection(found.options)
    loss = problem.evaluate(selection).loss
    bound = loss if found.complete else min(found.bound, loss)
    return Proposal(selection, found.complete, lower_bound=bound)
