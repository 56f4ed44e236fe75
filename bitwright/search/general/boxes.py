"""Fronts over any costs, one or several, with a bounded error: boxes of budgets, the worst first.

f(b) is the least loss within the budgets b; it never rises with b. For budgets inside a box the best
answer found within its lower corner is at hand, and none has a loss below f at its upper corner.
The difference of the two bounds the error in the box; the box with the largest is divided.

.. [LTZ2006] Laumanns, Thiele, Zitzler: An efficient, adaptive parameter variation scheme for
   metaheuristics based on the epsilon-constraint method. European Journal of Operational Research
   169(3), 2006.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.front import non_dominated
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import FrontProposal, SolveSession
from bitwright.search.general.budget_space import BudgetSpace
from bitwright.search.general.corners import BoundPool, Box, Corner, CornerValues, without
from bitwright.search.general.gap_search import search_gap

DEFAULT_CORNERS = 1_000
"""Corners that are solved before a front is given with the error that it has."""

_STATES = 2**12
_SHARE_OF_CORNER = 0.25
"""What part of the allowed error the answer at a corner may take."""

_PLACES = 16
_THIN = 4


def boxed_front(
    problem: AllocationProblem, costs: Sequence[str], session: SolveSession, epsilon: float
) -> FrontProposal:
    """Propose a front of loss against some costs; other budgets, ties and pairwise terms hold.

    `effort.states` limits the corners that are solved. Raises `UnsupportedProblemError` for peak
    costs, and where pairwise terms are too dense.
    """
    budget_space = BudgetSpace(problem, costs)
    search = _BoxSearch(budget_space, session, epsilon)
    reached = search.run()
    points = search.points
    values = np.array([p.corner for p in points], dtype=object).reshape(-1, len(costs))
    losses = np.array([p.loss for p in points])
    kept = non_dominated(values.astype(np.float64), losses)
    chosen = [points[i] for i in kept]
    return FrontProposal(
        cost_values=np.array([budget_space.costs(p.corner) for p in chosen]).reshape(
            -1, len(costs)
        ),
        losses=losses[kept],
        selections=lambda which: np.array(
            [budget_space.model.selection(chosen[i].options) for i in which], dtype=np.int64
        ).reshape(-1, len(problem)),
        exact=reached == 0.0,
        epsilon=reached,
    )


@dataclass(frozen=True, eq=False)
class _Point:
    """An answer: what it takes of every cost of the front, in units, its loss, and its options."""

    corner: Corner
    loss: float
    options: NDArray[np.int64]


class _BoxSearch:
    """The boxes that are left, what was found, and what was proved at corners."""

    def __init__(self, space: BudgetSpace, session: SolveSession, epsilon: float) -> None:
        self._space, self._session, self._epsilon = space, session, epsilon
        self._limit = session.effort.states or DEFAULT_CORNERS
        self.points: list[_Point] = []
        self._found = CornerValues(len(space.top), space.model.limits.dtype)
        self._proved = CornerValues(len(space.top), space.model.limits.dtype)
        self._solved: set[Corner] = set()
        self._settled: list[Box] = []
        self._pool = BoundPool(len(space.top))
        self._thin = False
        self._span = 0.0

    def run(self) -> float | None:
        """Divide boxes until the allowed error is met; returns the error, None where unknown."""
        space = self._space
        if space.empty or math.isinf(self._solve(space.top)):
            return 0.0
        origin: Corner = (0,) * len(space.top)
        self._solve(origin)
        order = itertools.count()
        heap = [(-self._error((origin, space.top)), next(order), (origin, space.top))]
        while heap and -heap[0][0] > self._allowed():
            if len(self._solved) >= self._limit or self._session.out_of_time():
                break
            box = heapq.heappop(heap)[2]
            for part in self._divided(box):
                error = self._error(part)
                if part == box:
                    self._settled.append(box)
                elif error > self._negligible():
                    heapq.heappush(heap, (-error, next(order), part))
        boxes = [*self._settled, *(entry[2] for entry in heap)]
        worst = max([self._error(box) for box in boxes], default=0.0)
        if worst <= self._negligible():
            return 0.0
        return worst / self._span if math.isfinite(worst) and self._span > 0 else None

    def _allowed(self) -> float:
        return max(self._epsilon * self._span, self._negligible())

    def _negligible(self) -> float:
        """Differences that are nothing but rounding."""
        return 2.0**-46 * float(np.abs(self._found.values).max(initial=0.0))

    def _divided(self, box: Box) -> list[Box]:
        """Solve what is unknown at a box's corners; leave out what is settled, halve the rest.

        The box itself comes back where nothing is left to divide.
        """
        low, high = box
        if low not in self._solved:
            self._solve(low)
        if high not in self._solved and self._error(box) > self._allowed():
            self._solve(high)
        if self._error(box) <= self._allowed():
            self._settled.append(box)
            return []
        parts: list[Box] = [box]
        best = self._found.least_within(high)
        if best is not None and best[1] - self._bound(high) <= self._allowed():
            parts = without(best[0], box)
            corner = tuple(max(a, b) for a, b in zip(low, best[0], strict=True))
            self._settled.append((corner, high))
        return [half for part in parts for half in self._halves(part)]

    def _halves(self, box: Box) -> list[Box]:
        """The box cut where the bound along one axis is half way between its ends."""
        low, high = box
        best = self._found.least_within(low)
        cuts = [
            self._cut(box, axis, math.inf if best is None else best[1])
            for axis in range(len(low))
            if high[axis] > low[axis]
        ]
        if not cuts:
            return [box]
        _, axis, middle = max(cuts)
        width = high[axis] - low[axis]
        self._thin = not self._thin and (middle - low[axis]) * _THIN < width
        if not self._thin:
            middle = max(middle, low[axis] + width // _THIN)
        return [
            (low, (*high[:axis], middle, *high[axis + 1 :])),
            ((*low[:axis], middle + 1, *low[axis + 1 :]), high),
        ]

    def _cut(self, box: Box, axis: int, found: float) -> tuple[float, int, int]:
        """How much an axis matters, the axis, and where to cut it.

        It matters by what the bound rises when the upper corner moves down along it; where nothing
        was found at the lower corner, by its length.
        """
        low, high = box
        width = high[axis] - low[axis]
        if math.isinf(found):
            return width / max(self._space.top[axis], 1), axis, low[axis] + width // 2
        moved = (*high[:axis], low[axis], *high[axis + 1 :])
        self._bounded(moved)
        steps = {width * k // _PLACES for k in range(1, _PLACES)}
        steps |= {width >> k for k in range(1, width.bit_length())}
        places = sorted(low[axis] + step for step in steps) or [low[axis]]
        corners = [(*high[:axis], place, *high[axis + 1 :]) for place in places]
        rise = min(self._bound(moved), found)
        aim = (rise + self._bound(high)) / 2
        nearest = int(np.argmin(np.abs(self._pool.bounds(corners) - aim)))
        return rise, axis, places[nearest]

    def _error(self, box: Box) -> float:
        """By how much the best answer found may lose more than the front, for budgets in a box."""
        bound = self._bound(box[1])
        best = self._found.least_within(box[0])
        if math.isinf(bound) and bound > 0:
            return 0.0
        return math.inf if best is None else max(best[1] - bound, 0.0)

    def _bound(self, corner: Corner) -> float:
        """A proved lower bound of the loss within a corner."""
        return max(self._proved.largest_above(corner), float(self._pool.bounds([corner])[0]))

    def _bounded(self, corner: Corner) -> None:
        """Learn what multipliers prove at a corner."""
        proof = self._space.bounds_from(corner)
        if proof is not None:
            self._pool.add(*proof)

    def _solve(self, corner: Corner) -> float:
        """Find the least loss within a corner; returns what is proved about it."""
        self._solved.add(corner)
        self._bounded(corner)
        landscape = self._space.landscape(corner)
        if landscape is None:
            return self._prove(corner, math.inf)
        best = self._found.least_within(corner)
        known = math.inf if best is None else best[1]
        tolerance = _SHARE_OF_CORNER * self._epsilon * self._span
        found = search_gap(landscape, self._session, _STATES, known, tolerance)
        if found.options is not None:
            known = landscape.loss_of(found.options) * landscape.loss_unit
            units = self._space.units(landscape, found.options)
            self.points.append(_Point(units, known, found.options))
            self._found.add(units, known)
        proved = known - tolerance if found.complete else min(found.bound, known)
        return self._prove(corner, proved)

    def _prove(self, corner: Corner, bound: float) -> float:
        """Note a bound; the front's range of loss is known as far as it is proved."""
        self._proved.add(corner, bound)
        if math.isfinite(bound):
            self._span = max(self._span, bound - float(self._found.values.min(initial=bound)))
        return bound
