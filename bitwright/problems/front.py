"""A Pareto front of loss against one or more costs, all to be minimised."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.values import ArrayValue


@dataclass(frozen=True)
class FrontPoint:
    """One non-dominated configuration; `configuration` is None where only its figures are kept."""

    costs: Mapping[str, int | float] = field(hash=False)
    loss: float
    configuration: BitConfiguration | None = None
    runs_as: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, eq=False)
class ParetoFront(ArrayValue):
    """Non-dominated points by ascending first cost; equal points are kept once.

    `cost_values` has shape (P, K), one column per name in `costs`, and is int64 where every value
    is an integer; `losses` has shape (P,). `configurations` is empty or has one entry per point.
    `exact`: these are all points of the true front. `epsilon`: every point of the true front is
    matched by one here that costs no more and whose loss is at most epsilon x (largest - smallest
    loss of the front) higher; None where nothing is proved. Where the choices were
    limited to those of a `device`, `runs_as` says of every configuration, or of none, in which type
    each layer is computed. Raises `InputError` for a dominated point or a wrong order.
    """

    problem: str
    solver: str
    costs: tuple[str, ...]
    cost_values: NDArray[Any]
    losses: NDArray[np.float64]
    exact: bool
    epsilon: float | None
    configurations: tuple[BitConfiguration | None, ...] = ()
    device: str = ""
    runs_as: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        losses = np.array(self.losses, dtype=np.float64) + 0.0  # no -0.0: equal fronts hash equally
        values, shape = np.array(self.cost_values), (len(losses), len(self.costs))
        if min(shape) <= 1 and values.size == math.prod(shape):
            values = values.reshape(shape)  # a flat list cannot be misread
        if values.shape != shape:
            raise InputError(
                f"cost_values must have shape (points, costs) = {shape}, got {values.shape}"
            )
        if values.dtype.kind not in "iu":
            values = values.astype(np.float64)
        losses.flags.writeable = values.flags.writeable = False
        object.__setattr__(self, "losses", losses)
        object.__setattr__(self, "cost_values", values)
        object.__setattr__(self, "costs", tuple(self.costs))
        object.__setattr__(self, "configurations", tuple(self.configurations))
        object.__setattr__(self, "runs_as", tuple(dict(types) for types in self.runs_as))
        if not self.costs:
            raise InputError("a front needs one or more costs")
        if self.configurations and len(self.configurations) != len(losses):
            raise InputError(
                f"a front of {len(losses)} points needs as many configurations, got {len(self.configurations)}"
            )
        if self.runs_as and (not self.device or len(self.runs_as) != len(losses)):
            raise InputError(
                f"a front of {len(losses)} points needs as many runs_as and the name of the device, "
                f"got {len(self.runs_as)} and {self.device!r}"
            )
        if not (np.isfinite(losses).all() and np.isfinite(values).all()):
            raise InputError("the costs and losses of a front must be finite")
        if not np.array_equal(non_dominated(values, losses), np.arange(len(losses))):
            raise InputError("the points of a front must be non-dominated and ascend by first cost")

    def __len__(self) -> int:
        return len(self.losses)

    def __getitem__(self, index: int) -> FrontPoint:
        costs = {n: self.cost_values[index, k].item() for k, n in enumerate(self.costs)}
        configuration = self.configurations[index] if self.configurations else None
        runs_as = self.runs_as[index] if self.runs_as else {}
        return FrontPoint(costs, float(self.losses[index]), configuration, runs_as)

    def __iter__(self) -> Iterator[FrontPoint]:
        return (self[i] for i in range(len(self)))

    def __hash__(self) -> int:
        return hash((self.problem, self.solver, self.costs, self.losses.tobytes()))

    def __repr__(self) -> str:
        return (
            f"ParetoFront({self.problem!r} by {self.solver!r}: {len(self)} points of loss against "
            f"{', '.join(self.costs)}; exact {self.exact}, epsilon {self.epsilon})"
        )

    def spread(self, points: int) -> NDArray[np.int64]:
        """Indices of `points` points spread along the front, both ends among them; all if it has fewer.

        Distance along the front is that in costs plus that in loss, each as a share of its range, so
        that steep and flat parts both get points. A single point is the cheapest.
        """
        if points < 1:
            raise InputError(f"points must be 1 or more, got {points}")
        if points >= len(self):
            return np.arange(len(self))
        along = self._distance_along()
        wanted = np.linspace(0.0, along[-1], points)
        taken = {int(np.abs(along - w).argmin()) for w in wanted}
        while len(taken) < points:
            taken.add(_in_widest_gap(np.array(sorted(taken)), along))
        return np.array(sorted(taken))

    def _distance_along(self) -> NDArray[np.float64]:
        """How far along the front every point is, shape (P,), from 0."""
        figures = np.column_stack([self.cost_values.astype(np.float64), self.losses])
        ranges = np.ptp(figures, axis=0)
        steps = np.abs(np.diff(figures, axis=0)) / np.where(ranges > 0, ranges, 1.0)
        return np.concatenate([[0.0], np.cumsum(steps.sum(axis=1))])

    def knee(self) -> int | None:
        """Index of the point farthest below the chord between the two ends, each axis in its range.

        Beyond it further savings of cost are paid for with more loss than on the average of the
        front. None with fewer than three points, with several costs, and where no point lies below
        the chord. Of equal distances the cheapest counts [Das1999]_, [Satopaa2011]_.

        .. [Das1999] Das: On characterizing the "knee" of the Pareto curve based on Normal-Boundary
           Intersection. Structural Optimization 18, 1999.
        .. [Satopaa2011] Satopaa, Albrecht, Irwin, Raghavan: Finding a "Kneedle" in a haystack:
           detecting knee points in system behavior. ICDCS Workshops 2011, pp. 166-171.
        """
        if len(self) < 3 or len(self.costs) > 1:
            return None
        costs = (self.cost_values[:, 0] - self.cost_values[0, 0]).astype(np.float64)
        losses = self.losses - self.losses[-1]
        # In shares of the ranges the chord runs from (0, 1) to (1, 0).
        below = 1.0 - costs / costs[-1] - losses / losses[0]
        knee = int(below.argmax())
        return knee if below[knee] > 0 else None

    def hypervolume(self, reference: Sequence[float]) -> float:
        """Volume dominated by the front up to `reference` = (cost, ..., loss); higher is better.

        Two objectives: a sweep in O(P log P). Points beyond the reference count nothing. More
        objectives raise `InputError`.
        """
        if len(self.costs) != 1 or len(reference) != 2:
            raise InputError(
                f"hypervolume takes one cost and one loss, got {len(self.costs)} costs"
            )
        volume, above = 0.0, float(reference[1])
        for cost, loss in zip(self.cost_values[:, 0].tolist(), self.losses.tolist(), strict=True):
            if cost < reference[0] and loss < above:
                volume += (reference[0] - cost) * (above - loss)
                above = loss
        return volume


def _in_widest_gap(taken: NDArray[np.int64], along: NDArray[np.float64]) -> int:
    """The point nearest to the middle of the widest gap between taken ones that holds others."""
    widths = np.where(np.diff(taken) > 1, np.diff(along[taken]), -1.0)
    left = int(widths.argmax())
    between = np.arange(taken[left] + 1, taken[left + 1])
    middle = (along[taken[left]] + along[taken[left + 1]]) / 2
    return int(between[np.abs(along[between] - middle).argmin()])


def non_dominated(cost_values: ArrayLike, losses: ArrayLike) -> NDArray[np.int64]:
    """Indices of the non-dominated points, ascending by (costs..., loss); of equal points the first.

    Everything is minimised; shapes (P, K) and (P,); a point with a NaN is left out. One cost:
    O(P log P); more: O(P x front).

    >>> non_dominated([[1], [2], [3], [3]], [5.0, 6.0, 4.0, 4.0])
    array([0, 2])
    """
    losses = np.asarray(losses, dtype=np.float64)
    if not len(losses):
        return np.empty(0, dtype=np.int64)
    values = np.asarray(cost_values).reshape(len(losses), -1)
    order: NDArray[np.int64] = np.lexsort((losses, *values.T[::-1]))
    order = order[~np.isnan(losses[order]) & ~np.isnan(values[order]).any(axis=1)]
    if values.shape[1] == 1:
        best = np.concatenate([[np.inf], np.minimum.accumulate(losses[order])[:-1]])
        return order[losses[order] < best[: len(order)]]
    kept: list[int] = []
    for i in order:
        if not any(losses[k] <= losses[i] and np.all(values[k] <= values[i]) for k in kept):
            kept.append(int(i))
    return np.array(kept, dtype=np.int64)
