"""The exact solver: a proved optimum, or a certified gap."""

from __future__ import annotations

from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Proposal, SolverTraits, SolveSession
from bitwright.search.knapsack import solve_knapsack


class ExactSolver:
    """Proves the best configuration within the budgets; the seed is not used."""

    name = "exact"
    traits = SolverTraits(exact=True, side_ties=True)

    def solve(self, problem: AllocationProblem, session: SolveSession) -> Proposal:
        """Propose the selection of least loss within the problem's budgets, if it has one."""
        return solve_knapsack(problem, session)
