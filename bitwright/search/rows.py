"""Budgets as exact linear rows over the choices: one row per cost, and one per step of a peak."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from bitwright.problems.exact import ExactColumn, decimal_digits
from bitwright.problems.problem import AllocationProblem
from bitwright.search.reduction import Integers


@dataclass(frozen=True, eq=False)
class Row:
    """One limit: the units of what is selected add up to at most `limit`; `units` has shape (M,).

    A unit is 10**-digits of the cost's. `pairs` maps the number of a pairwise term to the units of
    its table. `cost` is the budgeted cost, `step` the step of a peak and None otherwise.
    """

    cost: str
    step: int | None
    units: Integers
    digits: int
    limit: int
    pairs: Mapping[int, Integers] = field(default_factory=dict)

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
            rows.append(_summed(problem, cost, limit))
        steps = [step for peak in problem.peaks if peak.cost == cost for step in peak.steps]
        for k, step in enumerate(steps):
            numbers = [Fraction(0)] * len(problem.loss)
            for layer, number in step.items():
                for j in problem.span(layer):
                    numbers[j] = number * int(problem.activation_bits[j])
            column = ExactColumn.of(numbers, cost)
            rows.append(Row(cost, k, column.units, column.digits, column.in_units(limit)))
    return rows


def _summed(problem: AllocationProblem, cost: str, limit: Fraction) -> Row:
    """The row of a cost that is a sum over layers, in units fine enough for its pairwise terms."""
    column = problem.costs[cost]
    tables = {
        k: term.costs[cost] for k, term in enumerate(problem.interactions) if cost in term.costs
    }
    written = {v.denominator for t in tables.values() for line in t for v in line}
    digits = max([column.digits, *(decimal_digits(Fraction(1, d)) for d in written)])
    units = column.units
    if digits > column.digits:
        units = units.astype(object) * 10 ** (digits - column.digits)
    scale = 10**digits
    pairs = {
        k: np.array(
            [[v.numerator * (scale // v.denominator) for v in line] for line in table],
            dtype=object,
        )
        for k, table in tables.items()
    }
    return Row(cost, None, units, digits, math.floor(limit * scale), pairs)
