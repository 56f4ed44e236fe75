"""Budgets as they hold for one solve: those of the problem, replaced by those given by name."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from bitwright.problems.budgets import Budget
from bitwright.problems.errors import InputError, UnsupportedProblemError, nearest
from bitwright.problems.problem import AllocationProblem
from bitwright.search.reach import Reaches


def resolve(
    problem: AllocationProblem, budgets: Iterable[Budget], reaches: Reaches
) -> dict[str, Fraction]:
    """The limit of every budgeted cost; shares are taken of the cost's exact range."""
    given: dict[str, Fraction] = {}
    for budget in budgets:
        if budget.cost in given:
            raise InputError(f"budget {budget.cost!r} is given twice")
        if budget.cost not in problem.cost_names:
            known = nearest(budget.cost, problem.cost_names)
            raise InputError(f"budget for unknown cost {budget.cost!r}; {known}")
        given[budget.cost] = _amount(budget, reaches)
    return {**problem.budgets, **given}


def binding(limits: dict[str, Fraction], reaches: Reaches) -> dict[str, Fraction]:
    """The limits that some configuration breaks, as far as that can be worked out."""
    ranges = {name: reaches.known(name) for name in limits}
    return {
        name: limit
        for name, limit in limits.items()
        if (reach := ranges[name]) is None or reach.largest > limit
    }


def _amount(budget: Budget, reaches: Reaches) -> Fraction:
    if budget.amount is not None:
        return budget.amount
    assert budget.share is not None  # a Budget has one of the two
    try:
        return reaches[budget.cost].at(budget.share)
    except UnsupportedProblemError as error:
        raise UnsupportedProblemError(
            f"budget {budget.cost!r} cannot be a share, give an amount: {error}"
        ) from error
