"""What every deviation from the relaxation's answer costs, in loss, in units, and in the bound.

Under fixed multipliers the *penalty* of an answer is by how much its Lagrangian loss exceeds the
least. An answer within the limits whose loss is at most the bound plus g has a penalty of at most g.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitwright.search.general.frontiers import Component, FrontierStep
from bitwright.search.general.lagrangian_oracle import ModelOracle
from bitwright.search.general.multipliers import Multipliers
from bitwright.search.one_budget.lists import loss_exponent
from bitwright.search.one_budget.relaxation import ROUNDING
from bitwright.search.reduction import Integers


@dataclass(frozen=True, eq=False)
class Step:
    """One variable's options, seen from what must be remembered of earlier variables.

    Arrays have the shape (keys, options), or (1, options) where nothing need be known: `penalty`
    that an option adds, `loss` and `units` (.., options, R) relative to the relaxation's answer, and
    `next_key`, None where the step leaves the key as it is. `option` (options,) names the options.
    """

    variable: int
    option: NDArray[np.int64]
    penalty: NDArray[np.float64]
    loss: NDArray[np.int64]
    units: Integers
    next_key: NDArray[np.int64] | None
    keys_after: int


@dataclass(frozen=True, eq=False)
class LinkedSteps:
    """The steps of a component.

    `reached[t]` (keys,) is the least penalty with which a key is reached before step t, `marginal`
    the least penalty of an answer with each option, one array per step, and `nearest` the least
    penalty of an answer that differs from the relaxation's.
    """

    steps: tuple[Step, ...]
    reached: tuple[NDArray[np.float64], ...]
    marginal: tuple[NDArray[np.float64], ...]
    nearest: float


class Landscape:
    """The relaxation of a model at some multipliers.

    `bound` is below the loss of every answer within the limits by at most the duality gap;
    `rounding` is how far it and every penalty may be off. `picked` (V,) are the options of the
    relaxation's answer, `room` (R,) the units that it leaves, negative where it takes too many.
    """

    def __init__(self, oracle: ModelOracle, multipliers: Multipliers) -> None:
        self.oracle, self.model = oracle, oracle.model
        self.multipliers = multipliers.values
        column = oracle.least(self.multipliers)
        self.picked = column.options
        self.bound = column.loss + float(self.multipliers @ (column.units - oracle.limits))
        self.rounding = ROUNDING * oracle.magnitude(column, self.multipliers)
        self.loss, self.loss_unit, self.link_loss = self._integer_losses()
        self.room = self.model.limits - self.units_of(self.picked)

    def _integer_losses(self) -> tuple[NDArray[np.int64], float, list[NDArray[np.int64]]]:
        """Losses of options and links as multiples of one unit, so that sums compare exactly."""
        model = self.model
        tables = [np.where(np.isfinite(k.loss), k.loss, 0.0) for k in model.links]
        largest = np.maximum.reduceat(np.abs(model.loss), model.start[:-1])
        sizes = [float(np.abs(t).max()) for t in tables]
        parts = [model.loss, *(t.ravel() for t in tables)]
        exponent = loss_exponent(float(np.sum(largest) + sum(sizes)))
        scaled = [np.rint(np.ldexp(part, exponent)).astype(np.int64) for part in parts]
        links = [s.reshape(t.shape) for s, t in zip(scaled[1:], tables, strict=True)]
        return scaled[0], float(np.ldexp(1.0, -exponent)), links

    def units_of(self, options: NDArray[np.int64]) -> Integers:
        """Exact units of an answer in every row, shape (R,)."""
        units: Integers = self.model.units[:, options].sum(axis=1)
        for link in self.model.links:
            if link.units is not None:
                units = (
                    units + link.units[(slice(None), *self._at(link.first, link.second, options))]
                )
        return units

    def loss_of(self, options: NDArray[np.int64]) -> int:
        """Loss of an answer in units of `loss_unit`."""
        total = int(self.loss[options].sum())
        for link, table in zip(self.model.links, self.link_loss, strict=True):
            total += int(table[self._at(link.first, link.second, options)])
        return total

    def _at(self, first: int, second: int, options: NDArray[np.int64]) -> tuple[int, int]:
        start = self.model.start
        return int(options[first] - start[first]), int(options[second] - start[second])

    @cached_property
    def free_penalty(self) -> NDArray[np.float64]:
        """Penalties of the options of unlinked variables, (F, J), infinite where there is none."""
        value = self.oracle.free_values(self.multipliers)
        penalty: NDArray[np.float64] = value - value.min(axis=1, keepdims=True)
        counts = self.model.counts[self.oracle.free]
        penalty[np.arange(penalty.shape[1]) >= counts[:, None]] = np.inf
        return penalty

    @cached_property
    def free_nearest(self) -> NDArray[np.float64]:
        """The least penalty of another option than the picked one, (F,)."""
        penalty = self.free_penalty.copy()
        at = self.picked[self.oracle.free] - self.model.start[self.oracle.free]
        penalty[np.arange(len(at)), at] = np.inf
        return np.asarray(penalty.min(axis=1, initial=np.inf), dtype=np.float64)

    def open_options(self, allowance: float) -> NDArray[np.bool_]:
        """Which options (M,) some answer takes whose penalty is within an allowance."""
        open_ = np.zeros(len(self.model.loss), dtype=bool)
        open_[self.oracle.option[self.free_penalty <= allowance]] = True
        for block in self.linked:
            for step, marginal in zip(block.steps, block.marginal, strict=True):
                open_[step.option] = marginal <= allowance
        return open_

    def free_step(self, line: int, allowance: float) -> Step:
        """The step of an unlinked variable, with the options whose penalty is within the allowance."""
        at = np.flatnonzero(self.free_penalty[line] <= allowance)
        variable = int(self.oracle.free[line])
        option, picked = self.oracle.option[line, at], self.picked[variable]
        units = self.model.units[:, option].T - self.model.units[:, picked]
        return Step(
            variable=variable,
            option=option,
            penalty=self.free_penalty[line, at][None, :],
            loss=(self.loss[option] - self.loss[picked])[None, :],
            units=units[None, :, :],
            next_key=None,
            keys_after=1,
        )

    @cached_property
    def linked(self) -> list[LinkedSteps]:
        """The steps of every component."""
        return [self._linked_steps(component) for component in self.oracle.components]

    def _linked_steps(self, component: Component) -> LinkedSteps:
        tables = self.oracle.tables(component, self.multipliers)
        steps, reached, marginal = [], [], []
        lead = np.zeros(1)
        nearest = np.inf
        for frontier, table in zip(component.steps, tables, strict=True):
            flat = table.reshape(-1, table.shape[-1])
            with np.errstate(invalid="ignore"):
                penalty = flat - flat.min(axis=1, keepdims=True)
            penalty[np.isnan(penalty)] = np.inf
            step = self._linked_step(component, frontier, penalty)
            total = lead[:, None] + penalty
            own = total.min(axis=0)
            at = int(self.picked[step.variable] - self.model.start[step.variable])
            nearest = min(nearest, float(np.delete(own, at).min(initial=np.inf)))
            steps.append(step)
            reached.append(lead)
            marginal.append(own)
            assert step.next_key is not None  # linked steps always say what is remembered
            lead = np.full(step.keys_after, np.inf)
            np.minimum.at(lead, step.next_key.ravel(), total.ravel())
        return LinkedSteps(tuple(steps), tuple(reached), tuple(marginal), nearest)

    def _linked_step(
        self, component: Component, frontier: FrontierStep, penalty: NDArray[np.float64]
    ) -> Step:
        model, variable, picked = self.model, frontier.variable, self.picked
        option = np.arange(model.start[variable], model.start[variable + 1])
        shape = component.shape(frontier)
        loss = np.zeros(shape, dtype=np.int64) + self.loss[option] - self.loss[picked[variable]]
        units = model.units[:, option] - model.units[:, [picked[variable]]]
        units = units.reshape(len(units), *(1 for _ in frontier.before), len(option))
        for number in frontier.closed:
            link, at = model.links[number], self._at(*component.ends(number), picked)
            loss += component.on_axes(
                self.link_loss[number] - self.link_loss[number][at], number, frontier
            )
            if link.units is not None:
                relative = link.units - link.units[(slice(None), *at)][:, None, None]
                own = [component.on_axes(table, number, frontier) for table in relative]
                units = units + np.array(own)
        keys = np.zeros(shape, dtype=np.int64)
        for variable_after in frontier.after:
            count = int(model.counts[variable_after])
            place = np.arange(count).reshape(component.expanded(frontier, [variable_after]))
            keys = keys * count + place
        keys_before = math.prod(shape[:-1])
        alike = all(model.links[number].units is None for number in frontier.closed)
        if not alike:
            units = np.broadcast_to(units, (len(units), *shape))
        units = units.reshape(len(units), 1 if alike else keys_before, len(option))
        flat = (keys_before, len(option))
        return Step(
            variable=variable,
            option=option,
            penalty=penalty,
            loss=loss.reshape(flat),
            units=np.moveaxis(units, 0, -1),
            next_key=keys.reshape(flat),
            keys_after=math.prod(int(model.counts[v]) for v in frontier.after),
        )
