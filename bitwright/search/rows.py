"""Budgets as exact linear rows over the choices: one row per cost, and one per step of a peak."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from bitwright.problems.exact import ExactColumn
from bitwright.problems.problem import AllocationProblem
from bitwright.search.reduction import Integers


@dataclass(frozen=True, eq=False)
class Row:
    """One linear limit: the units of the selected choices add up to at most `limit`; shape (M,).

    A unit is 10**-digits of the cost's. `cost` is the budgeted cost, `step` the step of a peak and None otherwise. Pairwise terms of the
    cost are left out: they are not negative, so that the row still holds.
    """

    cost: str
    step: int | None
    units: Integers
    digits: int
    limit: int

    @property
    def label(self) -> str:
        """The row in words."""
        return self.cost if self.step is None else f"step {self.step} of {self.cost}"


def budget_rows(problem: AllocationProblem) -> list[Row]:
    """The rows that say that every budget of the problem holds."""
    rows = []
    for cost, budget in problem.budgets.items():
        limit = budget - problem.fixed_costs.get(cost, 0)
        if cost in problem.costs:
            column = problem.costs[cost]
            rows.append(Row(cost, None, column.units, column.digits, column.in_units(limit)))
        steps = [step for peak in problem.peaks if peak.cost == cost for step in peak.steps]
        for k, step in enumerate(steps):
            numbers = [Fraction(0)] * len(problem.loss)
            for layer, number in step.items():
                for j in problem.span(layer):
                    numbers[j] = number * int(problem.activation_bits[j])
            column = ExactColumn.of(numbers, cost)
            rows.append(Row(cost, k, column.units, column.digits, column.in_units(limit)))
    return rows
