"""The greedy solver: downgrade what loses least per saving until the budgets hold, then refine."""

from __future__ import annotations

from bitwright.problems.errors import InputError
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Proposal, SolverTraits, SolveSession
from bitwright.search.explain import contradiction, worded
from bitwright.search.local.downgrade import Pick, downgrade, least_rows, repair
from bitwright.search.local.guidance import ChangingLoss, changing, measured
from bitwright.search.local.measurements import Measurements
from bitwright.search.local.move_tables import move_tables
from bitwright.search.local.movers import Movers
from bitwright.search.local.moves import State
from bitwright.search.refine import refine_measured, refine_state


class GreedySolver:
    """Downgrades from the choices of least loss until every budget holds, then refines.

    Any number of budgets, ties of all sides, pairwise terms and peaks. `refine` says whether the
    downgrade is followed by local refinement. With `measured` the `candidates` best moves of every
    step by the table are measured on the session's objective and decide the step, and refinement
    is by measurement; `effort.evaluations` limits the measurements, and once they are used up the
    table decides. `changing_loss` is asked for the losses of all choices before every step; its
    answer is not refined by the table. The seed is not used. Where no configuration is found, that
    there is none is not proved.
    """

    name = "greedy"

    def __init__(
        self,
        refine: bool = True,
        measured: bool = False,
        candidates: int = 4,
        changing_loss: ChangingLoss | None = None,
    ) -> None:
        if candidates < 1:
            raise InputError(f"candidates must be 1 or more, got {candidates}")
        self._refine, self._measured, self._candidates = refine, measured, candidates
        self._changing_loss = changing_loss
        self.traits = SolverTraits(
            several_budgets=True, pairwise=True, side_ties=True, peaks=True, evaluates=measured
        )

    def solve(self, problem: AllocationProblem, session: SolveSession) -> Proposal:
        """Propose the selection that the downgrade leads to."""
        tables, stop = move_tables(problem), session.out_of_time
        state = State(tables, least_rows(tables, tables.losses(problem.loss)))
        measurements = self._measurements(problem, session)
        if not downgrade(state, stop, pick=self._pick(measurements)) and not repair(state, stop):
            return Proposal(None, complete=False, explanation=_why_not(problem, session))
        if self._refine and measurements is not None:
            refine_measured(state, measurements, stop)
        elif self._refine and self._changing_loss is None:
            refine_state(state, stop)
        cut_short = stop() or (measurements is not None and measurements.used_up)
        return Proposal(state.selection(), complete=not cut_short)

    def _measurements(
        self, problem: AllocationProblem, session: SolveSession
    ) -> Measurements | None:
        if not self._measured:
            return None
        objective = session.objective
        if objective is None:
            raise InputError(
                "solver 'greedy' with measured=True needs a measured objective, got none"
            )
        return Measurements(
            lambda selection: objective.evaluate(problem.configuration(selection)),
            session.effort.evaluations,
        )

    def _pick(self, measurements: Measurements | None) -> Pick | None:
        """What chooses the moves; None stands for the table as it is."""
        pick = None if measurements is None else measured(measurements, self._candidates)
        if self._changing_loss is None:
            return pick
        return changing(self._changing_loss, pick or Movers.best)


def _why_not(problem: AllocationProblem, session: SolveSession) -> str:
    if session.out_of_time():
        return "the time was up before a configuration within the budgets was found"
    return worded(problem, contradiction(problem), proved=False)
