"""The exact solver: a proved optimum, or a certified gap."""

from __future__ import annotations

import math
from dataclasses import replace

from bitwright.problems.errors import UnsupportedProblemError
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Proposal, SolverTraits, SolveSession
from bitwright.search.general.branching import Best, better, improved, search_branches
from bitwright.search.general.gap_search import DEFAULT_STATES, search_gap
from bitwright.search.general.relaxed import relaxed, rounded
from bitwright.search.one_budget.knapsack import solve_knapsack
from bitwright.search.refine import refine_state

FIRST_STATES = 2**15
"""Length of the lists in the first search, which is enough for most problems."""

_PROGRAM_NODES = 20_000


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
    """Propose the selection of least loss within any budgets, ties, pairwise terms and peaks.

    A short search of the gap proves most answers. Where it does not, the answer is refined; then
    longer lists are gone through if that is likely to be enough, and else branches. Where pairwise
    terms are too dense for tables over frontiers, the integer program searches.
    """
    try:
        relaxation = relaxed(problem)
    except UnsupportedProblemError:
        return _by_program(problem, session)
    if relaxation is None:
        return Proposal(None, complete=True)
    model, landscape = relaxation.model, relaxation.landscape
    states = session.effort.states or DEFAULT_STATES
    found = search_gap(landscape, session, min(states, FIRST_STATES))
    best = better(problem, model, found, Best(None, math.inf, found.bound, found.complete))
    if not best.complete:
        start = best.selection
        if start is None:
            start = model.selection(landscape.picked)
        if (state := rounded(problem, start, session)) is not None:
            refine_state(state, session.out_of_time)
            best = improved(problem, best, state.selection())
        if found.states_for(best.loss - landscape.bound) <= states:
            found = search_gap(landscape, session, states, best.loss)
            best = replace(best, bound=found.bound, complete=found.complete)
            best = better(problem, model, found, best)
    if not best.complete:
        best = search_branches(problem, model, best, session)
    bound = best.loss if best.complete else min(best.bound, best.loss)
    return Proposal(best.selection, best.complete, lower_bound=bound)


def _by_program(problem: AllocationProblem, session: SolveSession) -> Proposal:
    from bitwright.search.ilp import IlpSolver

    effort = replace(session.effort, states=session.effort.states or _PROGRAM_NODES)
    return IlpSolver().solve(problem, replace(session, effort=effort))
