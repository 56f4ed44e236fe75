"""Answers of least Lagrangian loss of a model: by variable where nothing is linked, else by tables."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bitwright.search.frontiers import Component, components
from bitwright.search.model import Model
from bitwright.search.multipliers import Column


class ModelOracle:
    """The oracle of a model: `free` are its unlinked variables, `components` the linked ones.

    Raises `UnsupportedProblemError` where links are too dense.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.components: list[Component] = components(model)
        linked = {s.variable for c in self.components for s in c.steps}
        alone = np.ones(len(model), dtype=bool)
        alone[list(linked)] = False
        self.free = np.flatnonzero(alone)
        self.limits = model.limits.astype(np.float64)
        counts = model.counts[self.free]
        width = int(counts.max(initial=1))
        self.option = model.start[self.free, None] + np.minimum(
            np.arange(width), counts[:, None] - 1
        )
        self._units = model.units.astype(np.float64)
        self._free_loss = model.loss[self.option]
        self._free_units = self._units[:, self.option]

    def free_values(
        self, multipliers: NDArray[np.float64], loss_weight: float = 1.0
    ) -> NDArray[np.float64]:
        """Lagrangian losses of the options of unlinked variables, lines padded by the last option."""
        values = self._free_loss * loss_weight
        for k in np.flatnonzero(multipliers):
            values += multipliers[k] * self._free_units[k]
        return values

    def tables(
        self, component: Component, multipliers: NDArray[np.float64], loss_weight: float = 1.0
    ) -> list[NDArray[np.float64]]:
        """The tables of a component under some multipliers."""
        options = loss_weight * self.model.loss + multipliers @ self._units
        return component.tables(options, multipliers, loss_weight)

    def least(self, multipliers: NDArray[np.float64], loss_weight: float = 1.0) -> Column:
        """The answer of least `loss_weight * loss + multipliers @ units`."""
        options = np.empty(len(self.model), dtype=np.int64)
        picked = np.argmin(self.free_values(multipliers, loss_weight), axis=1)
        lines = np.arange(len(picked))
        options[self.free] = self.option[lines, picked]
        loss = float(self._free_loss[lines, picked].sum())
        units = self._free_units[:, lines, picked].sum(axis=1)
        for component in self.components:
            taken = component.best(self.tables(component, multipliers, loss_weight))
            own = np.array([self.model.start[v] + p for v, p in taken.items()])
            options[list(taken)] = own
            loss += float(self.model.loss[own].sum())
            units = units + self._units[:, own].sum(axis=1)
            for number in component.links:
                link = self.model.links[number]
                at = taken[link.first], taken[link.second]
                loss += float(link.loss[at])
                if link.units is not None:
                    units = units + link.units[(slice(None), *at)].astype(np.float64)
        return Column(loss, units, options)

    def magnitude(self, column: Column, multipliers: NDArray[np.float64]) -> float:
        """The sum of the sizes of all terms of the column's Lagrangian loss, for rounding bounds."""
        losses = math.fsum(np.abs(self.model.loss[column.options]))
        for link in self.model.links:
            finite = np.abs(link.loss[np.isfinite(link.loss)])
            losses += float(finite.max(initial=0.0))
        return losses + float(multipliers @ (column.units + self.limits))
