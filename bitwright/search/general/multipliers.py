"""The Lagrangian dual of several rows: the multipliers of the best bound, by column generation.

The relaxation min {loss(x) : units(x) <= limits} over mixtures of answers has one basic mixture
more than it has rows. Its simplex method asks, for the multipliers of each basis, for the answer of
least Lagrangian loss: what enters the basis is one call of an oracle, and every call gives a bound.

.. [DW1960] Dantzig, Wolfe: Decomposition principle for linear programs. Operations Research 8(1),
   1960.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 1e-10
_PIVOT = 1e-11


@dataclass(frozen=True, eq=False)
class Column:
    """An answer of least Lagrangian loss: its loss, its units in every row, (R,), its options, (V,)."""

    loss: float
    units: NDArray[np.float64]
    options: NDArray[np.int64]


class Oracle(Protocol):
    """Answers of least weighted loss, all rows being free."""

    def least(self, multipliers: NDArray[np.float64], loss_weight: float = 1.0) -> Column:
        """The answer of least `loss_weight * loss + multipliers @ units`."""


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Multipliers (R,), not negative, and the bound that they prove up to rounding.

    Where `reachable` is false the multipliers stand for the rows alone: their weighted units exceed
    their weighted limits by `bound` in every answer.
    """

    values: NDArray[np.float64]
    bound: float
    columns: tuple[Column, ...]
    reachable: bool = True


def best_multipliers(oracle: Oracle, limits: NDArray[np.float64]) -> Multipliers:
    """Maximise the bound over all multipliers; stops early only where rounding ends progress.

    `limits` has shape (R,) and is not negative.
    """
    return _Simplex(oracle, limits).run()


class _Simplex:
    """The restricted master over R rows and the mixture's weights, which add up to 1.

    Row r is divided by its limit, so that limits of any size meet the same tolerances. Until the
    limits can be kept, artificial columns stand in and their sum is what is minimised.
    """

    def __init__(self, oracle: Oracle, limits: NDArray[np.float64]) -> None:
        self._oracle, self._limits = oracle, limits
        self._scale = np.where(limits > 0, limits, 1.0)
        rows = len(self._scale)
        self._right = np.append(limits / self._scale, 1.0)
        first = oracle.least(1.0 / self._scale, 0.0)
        self._basis = np.zeros((rows + 1, rows + 1))
        self._columns: list[Column | None] = [None] * rows + [first]
        self._basis[:, rows] = self._entering(first)
        over = self._basis[:rows, rows] > self._right[:rows]
        self._basis[np.arange(rows), np.arange(rows)] = np.where(over, -1.0, 1.0)
        self._artificial = np.append(over, False)
        self._best = Multipliers(np.zeros(rows), -np.inf, ())

    def run(self) -> Multipliers:
        """Make the limits hold, then minimise the loss."""
        if self._artificial.any() and not self._minimise(artificial=True):
            return self._best
        self._best = Multipliers(np.zeros(len(self._scale)), -np.inf, ())
        self._minimise(artificial=False)
        found = tuple(c for c in self._columns if c is not None)
        return Multipliers(self._best.values, self._best.bound, found)

    def _entering(self, column: Column) -> NDArray[np.float64]:
        return np.append(column.units / self._scale, 1.0)

    def _minimise(self, *, artificial: bool) -> bool:
        """Pivot until no column improves; with `artificial` says whether the limits can be kept."""
        rows = len(self._scale)
        for _ in range(200 + 60 * rows):
            try:
                inverse = np.linalg.inv(self._basis)
            except np.linalg.LinAlgError:
                return not artificial
            weights = np.maximum(inverse @ self._right, 0.0)
            losses = np.array([c.loss if c else 0.0 for c in self._columns])
            costs = self._artificial.astype(float) if artificial else losses
            value = float(costs @ weights)
            if artificial and value <= _TOLERANCE:
                return True
            prices = costs @ inverse
            slack = int(np.argmax(prices[:rows])) if rows else 0
            if rows and prices[slack] > _TOLERANCE * max(1.0, float(np.abs(prices).max())):
                column, entering = None, np.eye(rows + 1)[slack]
            else:
                multipliers = np.maximum(-prices[:rows], 0.0) / self._scale
                column = self._oracle.least(multipliers, 0.0 if artificial else 1.0)
                bound = self._note(column, multipliers, artificial)
                if value - bound <= _TOLERANCE * max(abs(value), abs(bound)):
                    return not artificial
                entering = self._entering(column)
            if not self._pivot(column, entering, inverse, weights, artificial):
                return not artificial
        return not artificial

    def _note(self, column: Column, multipliers: NDArray[np.float64], artificial: bool) -> float:
        """Keep the multipliers of the best bound so far."""
        loss = 0.0 if artificial else column.loss
        bound = loss + float(multipliers @ (column.units - self._limits))
        if bound > self._best.bound:
            self._best = Multipliers(multipliers, bound, (column,), reachable=not artificial)
        return bound

    def _pivot(
        self,
        column: Column | None,
        entering: NDArray[np.float64],
        inverse: NDArray[Any],
        weights: NDArray[Any],
        artificial: bool,
    ) -> bool:
        """Exchange a column of the basis; False where rounding leaves none to exchange."""
        direction = inverse @ entering
        ratios = np.full(len(weights), np.inf)
        np.divide(weights, direction, out=ratios, where=direction > _PIVOT)
        if not artificial:
            ratios[self._artificial & (np.abs(direction) > _PIVOT)] = 0.0
        leaving = int(np.argmin(ratios))
        if not np.isfinite(ratios[leaving]):
            return False
        self._basis[:, leaving] = entering
        self._columns[leaving], self._artificial[leaving] = column, False
        return True
