"""Every configuration tried: the slow twin of all solvers, for problems of some thousand.

`enumeration` does the same with whole arrays, for some million.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem, Evaluation


@dataclass(frozen=True, eq=False)
class Optimum:
    """The first selection of least loss and its exact figures."""

    selection: NDArray[np.int64]
    evaluation: Evaluation

    @property
    def loss(self) -> float:
        """The least loss within the budgets and ties."""
        return self.evaluation.loss


def brute_force(problem: AllocationProblem) -> Optimum | None:
    """The best of all configurations within budgets and ties; None where there is none."""
    best: Optimum | None = None
    for selection, evaluation in feasible(problem):
        if best is None or evaluation.loss < best.loss:
            best = Optimum(selection, evaluation)
    return best


def brute_force_front(problem: AllocationProblem, *costs: str) -> list[tuple[Any, ...]]:
    """All non-dominated (cost, ..., loss) within budgets and ties, by rising first cost.

    Costs are fractions, losses floats; equal points come once.
    """
    points: set[tuple[Any, ...]] = {
        (*(e.costs[c] for c in costs), e.loss) for _, e in feasible(problem)
    }
    front: list[tuple[Any, ...]] = []
    for point in sorted(points):
        # Those before it in this order are the only ones that may dominate a point.
        if not any(all(a <= b for a, b in zip(other, point, strict=True)) for other in front):
            front.append(point)
    return front


def feasible(problem: AllocationProblem) -> Iterator[tuple[NDArray[np.int64], Evaluation]]:
    """Every selection within budgets and ties, with its figures."""
    spans = [problem.span(i) for i in range(len(problem))]
    for choices in itertools.product(*spans):
        selection = np.array(choices, dtype=np.int64)
        if not problem.broken_ties(selection):
            evaluation = problem.evaluate(selection)
            if not evaluation.over_budget(problem.budgets):
                yield selection, evaluation
