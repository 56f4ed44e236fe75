"""Whether a solver takes a problem, decided by its traits before it is asked."""

from __future__ import annotations

from importlib.util import find_spec

from bitwright.problems.errors import UnsupportedProblemError, missing_dependency
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import MeasuredObjective, Solver


def require_installed(solver: Solver) -> None:
    """Raise `MissingDependencyError` for a module that the solver needs; none is imported."""
    for module in solver.traits.needs:
        if find_spec(module.partition(".")[0]) is None:
            raise missing_dependency(f"solver {solver.name!r}", module)


def admit(
    problem: AllocationProblem, solver: Solver, objective: MeasuredObjective | None = None
) -> None:
    """Raise `UnsupportedProblemError` for the first thing that the solver's traits do not take."""
    traits, exact = solver.traits, "; solver 'exact' takes them"
    peaks = [peak.cost for peak in problem.peaks if peak.cost in problem.budgets]
    ties = [tie for tie in problem.ties if tie.side != "all"]
    demands = [
        ("several_budgets", len(problem.budgets) > 1,
         f"takes one budget at a time, got {sorted(problem.budgets)}; solver 'exact' takes several"),
        ("pairwise", bool(problem.interactions),
         f"takes no pairwise terms, got {len(problem.interactions)}" + exact),
        ("side_ties", bool(ties),
         f"takes no ties of one side, got {len(ties)}" + exact),
        ("peaks", bool(peaks),
         f"takes no peak costs, got a budget for {peaks}" + exact),
    ]  # fmt: skip
    for trait, needed, refusal in demands:
        if needed and not getattr(traits, trait):
            raise UnsupportedProblemError(f"solver {solver.name!r} {refusal} (trait {trait!r})")
    if traits.evaluates and objective is None:
        raise UnsupportedProblemError(
            f"solver {solver.name!r} needs a measured objective, got none (trait 'evaluates')"
        )
