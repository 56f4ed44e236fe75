"""The integer programming solver: the textbook program through PuLP, as in HAWQ-V3, re-checked.

.. [Yao2021] Yao et al.: HAWQ-V3: Dyadic neural network quantization. ICML 2021, arXiv:2011.10680.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bitwright.problems.errors import InputError, MissingDependencyError, nearest
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Proposal, SolverTraits, SolveSession
from bitwright.search.explain import contradiction, worded
from bitwright.search.reduction import merge_ties

if TYPE_CHECKING:
    from bitwright.search.program import Answer, Program

_CUTS = 8
_TIGHTENINGS = 24


class IlpSolver:
    """Solves the textbook integer program: several budgets, ties of all sides, peaks.

    `pulp_solver` names another of PuLP's solvers, such as `HiGHS`; the default is the CBC that comes
    with it. Branch and bound in floating point proves to a tolerance only: the answer is checked
    exactly, its bound is the solver's less that tolerance, and the answer counts as optimal only
    where no choice of any layer has a lower loss. Likewise nothing counts as infeasible that
    multipliers do not prove so, checked exactly. `effort.states` limits the nodes. The seed is not
    used.
    """

    name = "ilp"

    def __init__(self, pulp_solver: str | None = None) -> None:
        self._pulp_solver = pulp_solver
        needs = ("pulp", "highspy") if pulp_solver == "HiGHS" else ("pulp",)
        self.traits = SolverTraits(
            exact=True, several_budgets=True, side_ties=True, peaks=True, needs=needs
        )

    def solve(self, problem: AllocationProblem, session: SolveSession) -> Proposal:
        """Propose the selection that the integer program finds, if it holds exactly."""
        from bitwright.search.program import Program

        program = Program(problem)
        with TemporaryDirectory(prefix="bitwright-ilp-") as folder:
            answer = self._checked(program, problem, session, folder)
        if answer is None:
            proof = contradiction(problem)
            return Proposal(None, complete=proof is not None, explanation=worded(problem, proof))
        groups = merge_ties(problem)
        best = math.fsum(groups.loss[groups.least_loss()])
        loss = math.fsum(problem.loss[answer.selection])
        if loss <= best:
            return Proposal(answer.selection, complete=True, lower_bound=loss)
        return Proposal(
            answer.selection, complete=False, lower_bound=min(max(answer.bound, best), loss)
        )

    def _checked(
        self, program: Program, problem: AllocationProblem, session: SolveSession, folder: str
    ) -> Answer | None:
        """Solve until an answer holds exactly, cutting off those that break a budget by rounding.

        Cutting off one answer loses nothing else. Where that goes on and on, the broken limits are
        lowered instead; what is proved then is no longer a bound for the problem as given.
        """
        bound = -math.inf
        for attempt in range(_CUTS + _TIGHTENINGS):
            if session.out_of_time():
                break
            answer = program.solve(self._pulp(session, folder))
            if answer is None:
                break
            if attempt <= _CUTS:
                bound = max(bound, answer.bound)
            broken = program.broken_rows(answer.selection)
            if not broken and not problem.broken_ties(answer.selection):
                return replace(answer, bound=bound)
            program.cut_off(answer.selection)
            if attempt >= _CUTS:
                program.tighten(broken)
        return None

    def _pulp(self, session: SolveSession, folder: str) -> Any:
        """A fresh PuLP solver that works silently, in the folder, to the last digit it can."""
        import pulp
        from pulp.apis.coin_api import PULP_CBC_CMD

        seconds = session.effort.seconds
        left = None if seconds is None else max(session.started + seconds - time.monotonic(), 0.01)
        limits = {"timeLimit": left, "gapRel": 0.0, "gapAbs": 1e-9, "msg": False}
        if self._pulp_solver is None:
            # No `threads`: told to use one, this CBC now and then waits ten seconds for itself.
            solver = pulp.COIN_CMD(
                path=PULP_CBC_CMD.pulp_cbc_path, maxNodes=session.effort.states, **limits
            )
        elif self._pulp_solver in pulp.listSolvers():
            solver = pulp.getSolver(self._pulp_solver, **limits)
        else:
            raise InputError(
                f"PuLP has no solver {self._pulp_solver!r}; "
                f"{nearest(self._pulp_solver, pulp.listSolvers())}"
            )
        if not solver.available():
            raise MissingDependencyError(f"PuLP finds no {solver.name} on this machine")
        solver.tmpDir = folder
        return solver
