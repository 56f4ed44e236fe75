"""Whether a front is what it says, judged by trying every configuration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.exact import plain
from bitwright.problems.front import ParetoFront
from bitwright.problems.problem import AllocationProblem
from bitwright.testing.enumeration import enumerated

_ROUNDING = 1e-12


def check_front(front: ParetoFront, problem: AllocationProblem) -> None:
    """Assert that a front of the problem, within its budgets and ties, keeps its word.

    Every configuration has the figures of its point and holds; no point dominates another. An
    exact front is the true one, any other misses it by no more than its epsilon, if it states one.
    """
    values = front.cost_values.astype(np.float64)
    for k in range(len(front)):
        _check_point(front, k, problem)
        no_dearer = (values <= values[k]).all(axis=1) & (front.losses <= front.losses[k])
        assert np.flatnonzero(no_dearer).tolist() == [k]
    true_values, true_losses = true_front(problem, front.costs)
    if front.exact:
        assert values.tolist() == true_values.tolist()
        assert front.losses.tolist() == true_losses.tolist()
    elif not len(true_losses):
        assert not len(front)
    elif front.epsilon is not None:
        allowed = front.epsilon * np.ptp(true_losses) + _ROUNDING * np.abs(true_losses).max()
        for value, loss in zip(true_values, true_losses, strict=True):
            no_dearer = (values <= value).all(axis=1)
            assert front.losses[no_dearer].min(initial=np.inf) <= loss + allowed


def true_front(
    problem: AllocationProblem, costs: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Costs (P, K) and losses (P,) of the true front, without what float64 cannot tell apart."""
    points = enumerated(problem).front(*costs)
    rounded = sorted({(*(float(plain(c)) for c in cost), loss) for *cost, loss in points})
    figures = np.array(rounded).reshape(len(rounded), len(costs) + 1)
    kept = [
        k for k, line in enumerate(figures) if not (figures[:k] <= line).all(axis=1).any()
    ]  # only what comes before in this order may dominate
    return figures[kept, :-1], figures[kept, -1]


def _check_point(front: ParetoFront, k: int, problem: AllocationProblem) -> None:
    configuration = front.configurations[k] if front.configurations else None
    if configuration is None:
        return
    selection = problem.selection(configuration)
    evaluation = problem.evaluate(selection)
    assert evaluation.loss == front.losses[k]
    assert [float(plain(evaluation.costs[name])) for name in front.costs] == (
        front.cost_values[k].astype(np.float64).tolist()
    )
    assert evaluation.over_budget(problem.budgets) == {}
    assert problem.broken_ties(selection) == []
