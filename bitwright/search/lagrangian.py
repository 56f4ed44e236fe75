"""The Lagrangian solver: multipliers only, for a bound and a good answer at once at any size.

.. [SZ1979] Sinha, Zoltners: The multiple-choice knapsack problem. Operations Research 27(3), 1979.
"""

from __future__ import annotations

from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Proposal, SolverTraits, SolveSession
from bitwright.search.general.relaxed import relaxed, rounded
from bitwright.search.local.movers import Movers
from bitwright.search.refine import upgrade


class LagrangianSolver:
    """Bounds the loss by the best multipliers of the budgets, and repairs the answer they lead to.

    Takes several budgets, ties of all sides, peaks, and pairwise terms that are not too dense. What
    the repair leaves of the budgets is spent on single upgrades. The gap is small where there are
    many layers; nothing is searched to close it. The seed is not used.
    """

    name = "lagrangian"
    traits = SolverTraits(several_budgets=True, pairwise=True, side_ties=True, peaks=True)

    def solve(self, problem: AllocationProblem, session: SolveSession) -> Proposal:
        """Propose the repaired answer of the best multipliers, with the bound that they prove."""
        found = relaxed(problem)
        if found is None:
            return Proposal(None, complete=False)
        landscape = found.landscape
        bound = landscape.bound - landscape.rounding
        state = rounded(problem, found.model.selection(landscape.picked), session)
        if state is None:
            return Proposal(None, complete=False, lower_bound=bound)
        upgrade(Movers(state), session.out_of_time)
        selection = state.selection()
        return Proposal(selection, True, lower_bound=min(bound, problem.evaluate(selection).loss))
