"""The convex hull of the front: for any number of groups, with a bound on what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.search.reduction import ChoiceTable, Integers


@dataclass(frozen=True, eq=False)
class HullFront:
    """The front's convex hull within a capacity, point p having taken the first p steps.

    Point 0 takes the cheapest choice of every group; step s moves group `group[s]` on to position
    `choice[s]` of its line. `cost` counts units above point 0; `loss` is in the problem's terms.
    """

    group: NDArray[np.int64]
    choice: NDArray[np.int64]
    cost: NDArray[Any]
    loss: NDArray[np.float64]
    groups: int
    epsilon: float
    bound: float

    def positions(self, points: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions in the table's lines behind some points, shape (len(points), G)."""
        positions = np.zeros((len(points), self.groups), dtype=np.int64)
        current, done = np.zeros(self.groups, dtype=np.int64), 0
        for line in np.argsort(points, kind="stable"):
            steps = slice(done, int(points[line]))
            np.maximum.at(current, self.group[steps], self.choice[steps])
            positions[line], done = current, steps.stop
        return positions


def hull_front(table: ChoiceTable, capacity: int | None) -> HullFront:
    """Take the steps along all groups' hulls by falling gain per cost while they fit.

    A point of the true front between two points of the hull costs no less than the first and loses
    no less than the second, so that the largest step in loss bounds the error. `bound` is below the
    loss of every selection within the capacity.
    """
    group, choice = _vertices(table)
    later = np.flatnonzero(group[1:] == group[:-1]) + 1
    cost = table.cost[group, choice]
    loss = table.loss[group, choice]
    cost_step, gain = cost[later] - cost[later - 1], loss[later - 1] - loss[later]
    order = np.argsort(-gain / cost_step.astype(np.float64), kind="stable")
    spent = np.cumsum(cost_step[order])
    fitting = len(order) if capacity is None else int(np.searchsorted(spent, capacity, "right"))
    taken = order[:fitting]
    first = float(table.loss[:, 0].sum())
    losses = first - np.concatenate([[0.0], np.cumsum(gain[taken])])
    largest = float(gain[order[: fitting + 1]].max(initial=0.0))
    span = first - float(losses[-1])
    bound = float(losses[-1]) if fitting == len(order) else float(losses[-1] - gain[order[fitting]])
    return HullFront(
        group=group[later][taken],
        choice=choice[later][taken],
        cost=np.concatenate([np.zeros(1, spent.dtype), spent[:fitting]]),
        loss=losses,
        groups=len(table.count),
        epsilon=largest / span if span > 0 else 0.0,
        bound=bound,
    )


def _vertices(table: ChoiceTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Groups and positions of the corners of every group's lower convex hull.

    A choice on or above the line between its neighbours is no corner, whichever choices the
    neighbours are; leaving such out until none is left takes a few passes over what remains.
    """
    valid = np.arange(table.cost.shape[1]) < table.count[:, None]
    group, choice = np.nonzero(valid)
    while True:
        cost: Integers = table.cost[group, choice]
        loss = table.loss[group, choice]
        same = group[1:] == group[:-1]
        width = np.where(same, cost[1:] - cost[:-1], 1).astype(np.float64)
        slope = np.where(same, (loss[1:] - loss[:-1]) / width, np.nan)
        flat = np.zeros(len(group), dtype=bool)
        flat[1:-1] = slope[:-1] >= slope[1:]
        if not flat.any():
            return group, choice
        group, choice = group[~flat], choice[~flat]
