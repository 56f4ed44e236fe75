"""The integer programming solver: the textbook program through PuLP, as in HAWQ-V3, re-checked.

.. [Yao2021] Yao et al.: HAWQ-V3: Dyadic neural network quantization. ICML 2021, arXiv:2011.10680.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import UnsupportedProblemError
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Proposal, SolverTraits, SolveSession
from bitwright.search.explain import contradiction, worded
from bitwright.search.integer_program.bound import Bound, bound_of
from bitwright.search.integer_program.closest import agreeing, closest
from bitwright.search.integer_program.form import Form, form_of
from bitwright.search.integer_program.multipliers import Shares, strongest
from bitwright.search.integer_program.walk import MOST_STATES, open_rows
from bitwright.search.one_budget.sides import merge_sides

if TYPE_CHECKING:
    from bitwright.search.integer_program.program import Answer, Program

_T = TypeVar("_T")

_CUTS = 8
_TIGHTENINGS = 24
_FIRST_GAP = 1e-3
_WORTH_RESCALING = 100
_TOLD_APART = 8


class IlpSolver:
    """Solves the textbook integer program: several budgets, pairwise terms, all ties, peaks.

    `pulp_solver` names one of PuLP's solvers, such as `HiGHS` or `COIN_CMD`; the default is the CBC
    that comes with PuLP. Branch and bound in floating point proves to a tolerance only, so that its
    answers are checked exactly and its word is not taken for a proof. The proof is ours: the duals
    of the linear relaxation give a bound that holds in spite of rounding, and where it leaves few
    configurations open, all of them are gone through. Elsewhere the answer is `feasible`, with the
    solver's bound less its tolerance. Nothing counts as infeasible that is not proved so exactly.
    `effort.states` limits the solver's nodes and the length of our list. The seed is not used.

    Raises `InputError` for ties that contradict each other, and for a solver that PuLP has not.
    """

    name = "ilp"

    def __init__(self, pulp_solver: str | None = None) -> None:
        self._pulp_solver = pulp_solver
        needs = ("pulp", "highspy") if pulp_solver == "HiGHS" else ("pulp",)
        self.traits = SolverTraits(
            exact=True, several_budgets=True, pairwise=True, side_ties=True, peaks=True, needs=needs
        )

    def solve(self, problem: AllocationProblem, session: SolveSession) -> Proposal:
        """Propose the selection that the integer program finds, if it holds exactly."""
        form = form_of(problem)
        with TemporaryDirectory(prefix="bitwright-ilp-") as folder:
            run = _Run(form, session, self._pulp_solver, folder)
            proposal = run.proposal() if all(limit.room >= 0 for limit in form.limits) else None
        return proposal or _without_answer(form, session, run.trouble)


class _Run:
    """One problem on its way through the solver, beside the bound that its relaxation gives."""

    def __init__(
        self, form: Form, session: SolveSession, pulp_solver: str | None, folder: str
    ) -> None:
        from bitwright.search.integer_program.solvers import BUNDLED_CBC

        self._form, self._session, self._folder = form, session, folder
        self._name = pulp_solver or BUNDLED_CBC
        self.trouble: str | None = None

    def proposal(self) -> Proposal | None:
        """The best configuration found and what is proved of it; None where none is found.

        A first answer may have a gap: it tells with the bound what no better one takes, and the rest
        is a much smaller program. That is solved again where what is left differs by much smaller
        losses than it did, so that their scale suits the solver's tolerances.
        """
        from bitwright.search.integer_program.program import Program

        form, session, kept, gap = self._form, self._session, self._form.fits, _FIRST_GAP
        program = Program(form, kept)
        bound = self._bound(program)
        found = self._checked(program, gap) or self._near(bound)
        while found is not None:
            loss = form.total_loss(found.rows)
            most = MOST_STATES // 10 if gap else MOST_STATES
            opened = open_rows(form, bound, loss - _step(form.problem), session, most)
            if opened is not None:
                return _proved(form, np.vstack([found.rows, opened]))
            left = form.fits & (bound.penalty <= loss - bound.value + bound.rounding)
            finer = form.largest_regret(left) * _WORTH_RESCALING < form.largest_regret(kept)
            if not gap and not finer:
                break
            kept, gap = left, 0.0
            again = self._checked(Program(form, kept), gap)
            if again is None:
                break
            better = again if form.total_loss(again.rows) < loss else found
            found = replace(better, bound=max(found.bound, min(again.bound, loss)))
        return None if found is None else self._judged(found, bound)

    def _judged(self, found: Answer, bound: Bound) -> Proposal:
        """The proposal of an answer that was not proved to be the best by going through the rest."""
        loss, selection = self._form.total_loss(found.rows), self._form.groups.selection(found.rows)
        met = bound.value + bound.rounding >= loss
        proved = bound.value if met else max(bound.value, found.bound)
        return Proposal(
            selection, complete=met, lower_bound=min(proved, loss), explanation=self.trouble
        )

    def _bound(self, program: Program) -> Bound:
        """What the linear relaxation proves, or the least losses by themselves where it has no duals."""
        form, duals = self._form, self._tried(program.relax, self._solver(relaxed=True))
        if duals is None:
            prices, multipliers = np.zeros(len(form.limits)), np.zeros(len(form.links))
        else:
            prices, multipliers = duals.limits, duals.links
        return bound_of(form, (form.loss, form.loss_size), prices, multipliers)

    def _checked(self, program: Program, gap: float) -> Answer | None:
        """Solve until an answer holds exactly, cutting off those that break a budget by rounding.

        Cuts lose no answer that holds. Where that goes on and on, the broken limits are lowered
        instead; what is claimed then is no longer a bound for the problem as given.
        """
        from bitwright.search.integer_program.solvers import leaves_no_gap

        form, bound, no_gap = self._form, -math.inf, not gap and leaves_no_gap(self._name)
        for attempt in range(_CUTS + _TIGHTENINGS):
            if not program.possible or self._session.out_of_time():
                break
            answer = self._tried(partial(program.solve, no_gap=no_gap), self._solver(gap=gap))
            if answer is None:
                break
            if attempt <= _CUTS:
                bound = max(bound, answer.bound)
            excess = {k: form.excess(limit, answer.rows) for k, limit in enumerate(form.limits)}
            broken = {k: units for k, units in excess.items() if units > 0}
            if not broken and form.ties_hold(answer.rows):
                return replace(answer, bound=bound)
            program.cut_off(answer.rows, broken)
            if attempt >= _CUTS:
                program.tighten(broken)
        return None

    def _near(self, bound: Bound) -> Answer | None:
        """A configuration at hand that meets the budgets, if there is one: solvers overlook some."""
        from bitwright.search.integer_program.program import Answer

        form = self._form
        for rows in (agreeing(form, bound.penalty), closest(form)):
            if rows is not None and all(form.excess(limit, rows) <= 0 for limit in form.limits):
                return Answer(rows, -math.inf)
        return None

    def _tried(self, solve: Callable[[Any], _T | None], solver: Any) -> _T | None:
        """What a solver finds; one that breaks down finds nothing, and the answer says so."""
        from pulp import PulpSolverError

        try:
            return solve(solver)
        except PulpSolverError as error:
            self.trouble = f"PuLP's {self._name} broke down: {error}"
            return None

    def _solver(self, *, relaxed: bool = False, gap: float = 0.0) -> Any:
        from bitwright.search.integer_program.solvers import pulp_solver

        effort, left = self._session.effort, None
        if effort.seconds is not None:
            left = max(self._session.started + effort.seconds - time.monotonic(), 0.01)
        return pulp_solver(
            self._name, self._folder, relaxed=relaxed, gap=gap, nodes=effort.states, seconds=left
        )


def _proved(form: Form, rows: NDArray[np.int64]) -> Proposal:
    """The best of all configurations that can be the best, (S, G)."""
    losses = form.loss[form.variables(rows)].sum(axis=1)
    # Sums round, so that the first few are told apart as the problem judges them.
    first = rows[np.argsort(losses, kind="stable")[:_TOLD_APART]]
    loss, place = min((form.total_loss(one), k) for k, one in enumerate(first))
    return Proposal(form.groups.selection(first[place]), complete=True, lower_bound=loss)


def _without_answer(form: Form, session: SolveSession, trouble: str | None) -> Proposal:
    """Infeasible where multipliers prove it, or going through what they leave open; else stopped."""
    problem = form.problem
    with suppress(UnsupportedProblemError):
        merge_sides(problem, form.groups, None)  # refuses ties that contradict each other
    proof = contradiction(problem)
    opened = None
    if proof is None and form.limits and all(limit.room >= 0 for limit in form.limits):
        shares = Shares(form)
        nothing = np.zeros(len(form.loss))
        prices = shares.prices(strongest(shares))
        bound = bound_of(form, (nothing, nothing), prices, np.zeros(len(form.links)))
        opened = open_rows(form, bound, 0.0, session)
    if opened is not None and len(opened):
        return _proved(form, opened)
    proved = opened is not None or proof is not None
    why = worded(problem, proof, proved=proved)
    explanation = why if proved or trouble is None else f"{why}; {trouble}"
    return Proposal(None, complete=proved, explanation=explanation)


def _step(problem: AllocationProblem) -> float:
    """By how much a lower loss is lower at least: 1 where all losses are whole numbers, else 0."""
    losses = [problem.loss, *(np.ravel(term.loss) for term in problem.interactions)]
    whole = all(np.array_equal(loss, np.rint(loss)) for loss in losses)
    return 1.0 if whole and math.fsum(float(np.abs(loss).sum()) for loss in losses) < 2**53 else 0.0
