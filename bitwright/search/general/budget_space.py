"""A problem whose budgets on some costs can be moved, with bounds and relaxations at every setting."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import UnsupportedProblemError
from bitwright.problems.problem import AllocationProblem
from bitwright.search.general.corners import Corner
from bitwright.search.general.lagrangian_oracle import ModelOracle
from bitwright.search.general.landscape import Landscape
from bitwright.search.general.model_reduction import reduced
from bitwright.search.general.modelling import whole_model
from bitwright.search.general.multipliers import Multipliers, best_multipliers
from bitwright.search.reach import Reaches
from bitwright.search.rows import budget_rows


class BudgetSpace:
    """The model of a problem whose rows for the front's costs can be given any limits."""

    def __init__(self, problem: AllocationProblem, costs: Sequence[str]) -> None:
        peaks = {peak.cost for peak in problem.peaks}
        if unfit := [cost for cost in costs if cost in peaks]:
            raise UnsupportedProblemError(
                f"a front against the peak cost {unfit[0]!r} is only found by a sweep of budgets"
            )
        reaches = Reaches(problem)
        tops = {c: problem.budgets.get(c, reaches[c].largest) for c in costs}
        budgeted = problem.with_budgets({**problem.budgets, **tops})
        rows = budget_rows(budgeted)
        self._rows = [next(k for k, r in enumerate(rows) if r.cost == c) for c in costs]
        self._scales = [10 ** rows[k].digits for k in self._rows]
        self._fixed = [float(problem.fixed_costs.get(c, 0)) for c in costs]
        whole = whole_model(budgeted)
        self.model = reduced(whole, every_row=True)
        self._shift = [int(whole.limits[k]) - int(self.model.limits[k]) for k in self._rows]
        self.top: Corner = tuple(int(self.model.limits[k]) for k in self._rows)
        self.empty = not self.model.counts.all() or bool((self.model.limits < 0).any())
        self.oracle = None if self.empty else ModelOracle(self.model)

    def costs(self, corner: Corner) -> list[float]:
        """What units above the least options amount to in every cost, fixed costs included."""
        return [
            (units + shift) / scale + fixed
            for units, shift, scale, fixed in zip(
                corner, self._shift, self._scales, self._fixed, strict=True
            )
        ]

    def _oracle_within(self, corner: Corner) -> ModelOracle:
        assert self.oracle is not None  # an empty space has no corners
        limits = self.model.limits.copy()
        limits[self._rows] = corner
        return self.oracle.within(limits)

    def landscape(self, corner: Corner) -> Landscape | None:
        """The relaxation at its best multipliers under some limits; None where they contradict."""
        oracle = self._oracle_within(corner).closed()
        if not oracle.possible:
            return None
        multipliers = best_multipliers(oracle, oracle.limits)
        if not multipliers.reachable:
            if oracle.proves_unreachable(multipliers):
                return None
            multipliers = Multipliers(np.zeros(len(oracle.limits)), -math.inf, ())
        return Landscape(oracle, multipliers)

    def bounds_from(self, corner: Corner) -> tuple[NDArray[np.float64], float] | None:
        """Multipliers of the front's costs, best for one corner, and their bound at the lowest one.

        They prove a bound at every corner. None where nothing is within the corner.
        """
        oracle = self._oracle_within(corner)
        multipliers = best_multipliers(oracle, oracle.limits)
        if not multipliers.reachable:
            return None
        own = multipliers.values[self._rows]
        return own, multipliers.bound + float(own @ np.array(corner, dtype=np.float64))

    def units(self, landscape: Landscape, options: NDArray[np.int64]) -> Corner:
        """What an answer takes of every cost of the front, in units."""
        units = landscape.units_of(options)
        return tuple(int(units[k]) for k in self._rows)
