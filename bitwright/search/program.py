"""The textbook integer program of an allocation problem, written in PuLP and scaled.

    min  sum_j loss_j x_j    s.t.  one choice per layer, one row per budget or step of a peak,
                                   one row per tied pair of layers and shared precision

Integer programming solvers work to tolerances, so that what enters them is brought to a scale where
these are small: losses and costs count from the least of their layer, and choices that alone break
a budget are ruled out beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pulp
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem
from bitwright.search.rows import Row, budget_rows

_LARGEST_LOSS = 1e4
_LARGEST_LIMIT = 1e4
_TOLERANCE = 1e-6
"""What the solvers' own tolerances, 1e-7 and below, may add up to in the scaled objective."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What the integer programming solver found, and its bound less its tolerance if it finished."""

    selection: NDArray[np.int64]
    bound: float


class Program:
    """The program, to be solved again after what its answers broke has been cut off."""

    def __init__(self, problem: AllocationProblem) -> None:
        self._problem = problem
        self._model = pulp.LpProblem("allocation", pulp.LpMinimize)
        self._rows = [_ScaledRow(row, problem) for row in budget_rows(problem)]
        fits = np.ones(len(problem.loss), dtype=bool)
        for row in self._rows:
            fits &= row.fits
        self._x = [
            self._model.add_variable(f"x{j}", 0, high, cat=pulp.LpInteger)
            for j, high in enumerate(fits.astype(int).tolist())
        ]
        self._set_objective()
        for i in range(len(problem)):
            self._model.addConstraint(self._sum(problem.span(i)) == 1)
        for k, row in enumerate(self._rows):
            used = np.flatnonzero(row.coefficients * fits)
            if len(used):
                self._model.addConstraint(self._sum(used, row.coefficients) <= row.limit, f"row{k}")
        self._add_ties()

    def _sum(self, choices: Iterable[int], factors: NDArray[np.float64] | None = None) -> Any:
        terms = [(self._x[j], 1.0 if factors is None else float(factors[j])) for j in choices]
        return pulp.LpAffineExpression(terms)

    def _set_objective(self) -> None:
        problem = self._problem
        least = np.minimum.reduceat(problem.loss, problem.choice_start[:-1])
        regret = problem.loss - np.repeat(least, np.diff(problem.choice_start))
        self._least_loss = math.fsum(least)
        self._loss_scale = _LARGEST_LOSS / float(regret.max()) if regret.any() else 1.0
        self._model.setObjective(self._sum(range(len(regret)), regret * self._loss_scale))

    def _add_ties(self) -> None:
        problem = self._problem
        for tie in problem.ties:
            keys = {n: [tie.key(problem.precision(j)) for j in problem.span(n)] for n in tie.layers}
            for a, b in pairwise(tie.layers):
                for key in dict.fromkeys(keys[a] + keys[b]):
                    with_key = [
                        [j for j, k in zip(problem.span(n), keys[n], strict=True) if k == key]
                        for n in (a, b)
                    ]
                    self._model.addConstraint(self._sum(with_key[0]) - self._sum(with_key[1]) == 0)

    def solve(self, solver: Any) -> Answer | None:
        """Solve the program as it stands; None where the solver finds nothing."""
        self._model.solve(solver)
        if self._model.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
            return None
        values = np.array([x.value() or 0.0 for x in self._x])
        spans = [self._problem.span(i) for i in range(len(self._problem))]
        selection = np.array([s.start + int(np.argmax(values[s.start : s.stop])) for s in spans])
        if self._model.sol_status != pulp.LpSolutionOptimal:
            return Answer(selection, bound=-math.inf)
        claimed = (pulp.value(self._model.objective) - _TOLERANCE) / self._loss_scale
        return Answer(selection, bound=self._least_loss + claimed)

    def broken_rows(self, selection: NDArray[np.int64]) -> dict[int, int]:
        """By how many units an answer exceeds each row, counted exactly."""
        excess = {k: row.excess(selection) for k, row in enumerate(self._rows)}
        return {k: units for k, units in excess.items() if units > 0}

    def cut_off(self, selection: NDArray[np.int64]) -> None:
        """Rule out one selection and nothing else."""
        self._model.addConstraint(self._sum(selection.tolist()) <= len(selection) - 1)

    def tighten(self, excess: Mapping[int, int]) -> None:
        """Lower the limits of rows by some units; answers that hold may be lost."""
        for k, units in excess.items():
            self._rows[k].limit -= units * self._rows[k].per_unit
            self._model.get_constraint_by_name(f"row{k}").changeRHS(self._rows[k].limit)


class _ScaledRow:
    """A row counted from the cheapest choice of every layer and divided to a modest limit."""

    def __init__(self, row: Row, problem: AllocationProblem) -> None:
        self._row = row
        least = np.minimum.reduceat(row.units, problem.choice_start[:-1])
        above = row.units - np.repeat(least, np.diff(problem.choice_start))
        room = row.limit - int(least.sum())
        self.fits = np.asarray(above <= room, dtype=bool)
        self.per_unit = min(_LARGEST_LIMIT / max(room, 1), 1.0)
        self.coefficients = above.astype(np.float64) * self.per_unit
        self.limit = room * self.per_unit

    def excess(self, selection: NDArray[np.int64]) -> int:
        """Units by which a selection is above the limit, negative below."""
        return int(self._row.units[selection].sum()) - self._row.limit
