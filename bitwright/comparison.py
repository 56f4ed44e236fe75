"""Solvers side by side on one problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from bitwright.plugin_files import PluginError
from bitwright.problems.errors import (
    BitwrightError,
    InputError,
    MissingDependencyError,
    UnsupportedProblemError,
    UntrueAnswerError,
)
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Solver
from bitwright.problems.solution import Solution, Status

_ROUNDING = 1e-12
_OUTCOMES = {
    UnsupportedProblemError: "refused",
    MissingDependencyError: "missing",
    UntrueAnswerError: "failed",
    PluginError: "broken",
}


@dataclass(frozen=True)
class Entry:
    """What one solver did: a solution, or the reason why there is none.

    `solver` is the text by which it was asked for. `seconds` holds the time of every timed run;
    that of the solution is their median.
    """

    solver: str
    solution: Solution | None
    reason: str | None = None
    outcome: str = ""
    seconds: tuple[float, ...] = ()

    @property
    def word(self) -> str:
        """The status of the solution, or what kept the solver from one."""
        return self.outcome if self.solution is None else str(self.solution.status)


@dataclass(frozen=True)
class Comparison:
    """What several solvers say of one problem under the same budgets; loss: lower is better.

    Losses that differ by `rounding` or less may be equal but for the order of adding.
    """

    problem: str
    entries: tuple[Entry, ...]
    budgets: Mapping[str, int | float] = field(default_factory=dict, hash=False)
    rounding: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self.entries))
        object.__setattr__(self, "budgets", dict(self.budgets))

    @property
    def solutions(self) -> tuple[Solution, ...]:
        """The solutions in the order of the solvers, those without a configuration too."""
        return tuple(e.solution for e in self.entries if e.solution is not None)

    @property
    def loss(self) -> float:
        """The least loss that any solver found; infinite where none found any."""
        return min((s.loss for s in self.solutions), default=math.inf)

    @property
    def lower_bound(self) -> float:
        """The highest bound that any solver proved; -inf where none proved any."""
        return max((s.lower_bound for s in self.solutions), default=-math.inf)

    @property
    def status(self) -> Status:
        """Optimal where any solver proved it, feasible where any answered, else what is proved."""
        found = {s.status for s in self.solutions}
        order = (Status.OPTIMAL, Status.FEASIBLE, Status.INFEASIBLE)
        return next((s for s in order if s in found), Status.STOPPED)

    def contradictions(self) -> tuple[str, ...]:
        """Claims of solvers that the best answer disproves by more than rounding."""
        best = min(self.entries, key=lambda e: e.solution.loss if e.solution else math.inf)
        found, claims = self.loss, []
        for entry in self.entries:
            solution = entry.solution
            if solution is None or not math.isfinite(found):
                continue
            if solution.status is Status.INFEASIBLE:
                claims.append(
                    f"{entry.solver} claims that no configuration meets every budget, "
                    f"but {best.solver} found one"
                )
            elif solution.lower_bound - found > self.rounding:
                claims.append(
                    f"{entry.solver} claims that no loss is below {solution.lower_bound:.9g}, "
                    f"but {best.solver} found {found:.9g}"
                )
        return tuple(claims)


def compared(
    problem: AllocationProblem,
    solvers: Mapping[str, Solver | BitwrightError],
    ask: Callable[[Solver], Solution],
    repeat: int,
    started: Callable[[str], None] | None = None,
) -> Comparison:
    """Ask every solver `repeat` times in turn, after a run for warming up where that is above 1.

    Taking turns lets a busy moment of the machine fall on all solvers alike. The solution kept is
    that of the first timed run. In place of a solver that could not be made stands its error.
    """
    if repeat < 1:
        raise InputError(f"repeat must be 1 or more, got {repeat}")
    runs: dict[str, list[Solution]] = {name: [] for name in solvers}
    failed = {n: _failed(n, error) for n, error in solvers.items() if isinstance(error, Exception)}
    for number in range(repeat + (repeat > 1)):
        for name, solver in solvers.items():
            if name in failed or isinstance(solver, Exception):
                continue
            if started is not None and number == 0:
                started(name)
            try:
                solution = ask(solver)
            except BitwrightError as error:
                failed[name] = _failed(name, error)
                continue
            if number or repeat == 1:
                runs[name].append(solution)
    entries = [failed[name] if name in failed else _entry(name, runs[name]) for name in solvers]
    budgets = next((e.solution.budgets for e in entries if e.solution is not None), {})
    return Comparison(problem.name, tuple(entries), budgets, _rounding(problem))


def _entry(name: str, runs: list[Solution]) -> Entry:
    seconds = tuple(solution.seconds for solution in runs)
    solution = replace(runs[0], seconds=float(np.median(seconds)))
    return Entry(name, solution, seconds=seconds)


def _failed(name: str, error: BitwrightError) -> Entry:
    """The entry of an error that concerns this solver alone; any other is raised again."""
    for kind, outcome in _OUTCOMES.items():
        if isinstance(error, kind):
            return Entry(name, None, str(error), outcome)
    raise error


def _rounding(problem: AllocationProblem) -> float:
    """How far sums of the problem's losses may lie apart by the order of adding alone."""
    largest = np.maximum.reduceat(np.abs(problem.loss), problem.choice_start[:-1])
    pairs = (max(abs(v) for row in t.loss for v in row) for t in problem.interactions)
    return _ROUNDING * math.fsum([*largest.tolist(), *pairs])
