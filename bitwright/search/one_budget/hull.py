"""The convex hull of the front: for any number of groups, with a bound on what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.search.reduction import ChoiceTable


@dataclass(frozen=True, eq=False)
class HullFront:
    """The front's convex hull within a capacity, point p having taken the first p steps.

    Point 0 takes the cheapest row of every group, `first`; step s moves group `group[s]` on to row
    `row[s]` of the table. `cost` counts units above point 0; `loss` is in the problem's terms.
    """

    first: NDArray[np.int64]
    group: NDArray[np.int64]
    row: NDArray[np.int64]
    cost: NDArray[Any]
    loss: NDArray[np.float64]
    error: float
    bound: float

    @property
    def span(self) -> float:
        """The largest less the smallest loss."""
        return float(self.loss[0] - self.loss[-1])

    @property
    def epsilon(self) -> float:
        """`error` as a share of the span."""
        return self.error / self.span if self.span > 0 else 0.0

    def rows(self, points: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the table behind some points, shape (len(points), G)."""
        rows = np.empty((len(points), len(self.first)), dtype=np.int64)
        current, done = self.first.copy(), 0
        for line in np.argsort(points, kind="stable"):
            steps = slice(done, int(points[line]))
            np.maximum.at(current, self.group[steps], self.row[steps])
            rows[line], done = current, steps.stop
        return rows


def hull_front(table: ChoiceTable, capacity: int | None) -> HullFront:
    """Take the steps along all groups' hulls by falling gain per cost while they fit.

    The table holds undominated rows only. A point of the true front between two points of the hull
    costs no less than the first and loses no less than the second, so that the largest step in loss
    bounds the `error`. `bound` is below the loss of every selection within the capacity.
    """
    row = _corners(table)
    group = np.searchsorted(table.start, row, side="right") - 1
    later = np.flatnonzero(group[1:] == group[:-1]) + 1
    cost, loss = table.cost[row], table.loss[row]
    cost_step, gain = cost[later] - cost[later - 1], loss[later - 1] - loss[later]
    order = np.argsort(-gain / cost_step.astype(np.float64), kind="stable")
    spent = np.cumsum(cost_step[order])
    fitting = len(order) if capacity is None else int(np.searchsorted(spent, capacity, "right"))
    taken = order[:fitting]
    first = table.start[:-1]
    losses = float(table.loss[first].sum()) - np.concatenate([[0.0], np.cumsum(gain[taken])])
    lacking = 0.0 if fitting == len(order) else float(gain[order[fitting]])
    return HullFront(
        first=first,
        group=group[later][taken],
        row=row[later][taken],
        cost=np.concatenate([np.zeros(1, spent.dtype), spent[:fitting]]),
        loss=losses,
        error=max(float(gain[taken].max(initial=0.0)), lacking),
        bound=float(losses[-1] - lacking),
    )


def _corners(table: ChoiceTable) -> NDArray[np.int64]:
    """The rows at the corners of every group's lower convex hull.

    A row on or above the line between its neighbours is no corner, whichever rows the neighbours
    are; leaving such out until none is left takes a few passes over what remains.
    """
    row, counts = np.arange(len(table.cost)), np.diff(table.start)
    group = np.repeat(np.arange(len(counts)), counts)
    while True:
        cost, loss = table.cost[row], table.loss[row]
        same = group[1:] == group[:-1]
        width = np.where(same, cost[1:] - cost[:-1], 1).astype(np.float64)
        slope = np.where(same, (loss[1:] - loss[:-1]) / width, np.nan)
        flat = np.zeros(len(row), dtype=bool)
        flat[1:-1] = slope[:-1] >= slope[1:]
        if not flat.any():
            return row
        row, group = row[~flat], group[~flat]
