"""Answers of least Lagrangian loss of a model: by variable where nothing is linked, else by tables."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bitwright.search.general.frontiers import Component, components
from bitwright.search.general.model import Model
from bitwright.search.general.multipliers import Column, Multipliers
from bitwright.search.one_budget.relaxation import ROUNDING
from bitwright.search.reduction import Integers


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
        self._closed, self._free_closed = np.zeros(len(model.loss)), np.zeros(self.option.shape)
        self._units = model.units.astype(np.float64)
        self._free_loss = model.loss[self.option]
        self._free_units = self._units[:, self.option]

    def within(self, limits: Integers) -> ModelOracle:
        """The same oracle under other limits of the rows, (R,)."""
        twin = copy.copy(self)
        twin.model = replace(self.model, limits=limits)
        twin.limits = limits.astype(np.float64)
        return twin

    def closed(self) -> ModelOracle:
        """The oracle without the options that break a row by themselves."""
        twin = copy.copy(self)
        over = (self.model.units > self.model.limits[:, None]).any(axis=0)
        twin._closed = np.where(np.asarray(over, dtype=bool), np.inf, 0.0)
        twin._free_closed = twin._closed[self.option]
        return twin

    @property
    def possible(self) -> bool:
        """Whether any answer respects all links, rows aside."""
        none = np.zeros(len(self.limits))
        return bool(np.isfinite(self.free_values(none, 0.0).min(axis=1)).all()) and all(
            np.isfinite(self.tables(component, none, 0.0)[0].min()) for component in self.components
        )

    def free_values(
        self, multipliers: NDArray[np.float64], loss_weight: float = 1.0
    ) -> NDArray[np.float64]:
        """Lagrangian losses of the options of unlinked variables, lines padded by the last option."""
        values = self._free_loss * loss_weight + self._free_closed
        for k in np.flatnonzero(multipliers):
            values += multipliers[k] * self._free_units[k]
        return values

    def tables(
        self, component: Component, multipliers: NDArray[np.float64], loss_weight: float = 1.0
    ) -> list[NDArray[np.float64]]:
        """The tables of a component under some multipliers."""
        options = loss_weight * self.model.loss + multipliers @ self._units + self._closed
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
            link_loss, link_units = component.link_totals(options)
            loss += link_loss
            units = units + link_units
        return Column(loss, units, options)

    def proves_unreachable(self, multipliers: Multipliers) -> bool:
        """Whether rounding cannot be why the limits seem too tight for any mixture of answers."""
        most = self.least(multipliers.values, 0.0).units + self.limits
        return multipliers.bound > ROUNDING * float(multipliers.values @ most)

    def magnitude(self, column: Column, multipliers: NDArray[np.float64]) -> float:
        """The sum of the sizes of all terms of the column's Lagrangian loss, for rounding bounds."""
        losses = math.fsum(np.abs(self.model.loss[column.options]))
        for link in self.model.links:
            finite = np.abs(link.loss[np.isfinite(link.loss)])
            losses += float(finite.max(initial=0.0))
        return losses + float(multipliers @ (column.units + self.limits))
