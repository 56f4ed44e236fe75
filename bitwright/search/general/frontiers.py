"""Linked variables in an order in which few of them must be remembered, and the least to go.

After each step the *frontier* holds the variables taken so far that are linked to later ones. With a
table of the least Lagrangian loss to go for every assignment of the frontier, each step knows
exactly what any choice costs in the end: dynamic programming over a path decomposition.

.. [BB1972] Bertele, Brioschi: Nonserial dynamic programming. Academic Press, 1972.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import UnsupportedProblemError
from bitwright.search.general.model import Model
from bitwright.search.reduction import connected

MOST_ENTRIES = 2**24
"""Entries of all tables of one component; beyond it the links are too dense for this method."""


@dataclass(frozen=True, eq=False)
class FrontierStep:
    """One variable, the frontiers before and after it, and the links that it closes.

    `before` and `after` list variables in the order of the steps; the step's table has the axes
    `(*before, variable)`. `closed` holds the numbers of the links whose other end is in `before`.
    """

    variable: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    closed: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Component:
    """Variables that links hold together, in the order in which they are taken."""

    model: Model
    links: tuple[int, ...]
    steps: tuple[FrontierStep, ...]

    def shape(self, step: FrontierStep) -> tuple[int, ...]:
        """Axes of the step's table: options of the frontier before it, then of the variable."""
        return self.expanded(step, (*step.before, step.variable))

    def expanded(self, step: FrontierStep, variables: Iterable[int]) -> tuple[int, ...]:
        """The shape in which a table over some of the step's axes meets the step's table."""
        named = set(variables)
        axes = (*step.before, step.variable)
        return tuple(int(self.model.counts[v]) if v in named else 1 for v in axes)

    def ends(self, number: int) -> tuple[int, int]:
        """The two variables of a link."""
        return self.model.links[number].first, self.model.links[number].second

    def on_axes(self, table: NDArray[Any], number: int, step: FrontierStep) -> NDArray[Any]:
        """A link's table with the axes of the step that closes it."""
        ends = self.ends(number)
        if ends[1] != step.variable:
            table = table.T
        return table.reshape(self.expanded(step, ends))

    @cached_property
    def _laid_out(self) -> _LaidOut:
        """The tables of all links, each with the axes of its step, laid end to end."""
        rows = len(self.model.limits)
        losses, units, places, lookups, at = [], [], [], [], 0
        for step in self.steps:
            own = []
            for number in step.closed:
                link = self.model.links[number]
                table = self.on_axes(link.loss, number, step)
                losses.append(table.ravel())
                per_row = (
                    link.units if link.units is not None else np.zeros((rows, *link.loss.shape))
                )
                units.append(
                    np.array([self.on_axes(row, number, step).ravel() for row in per_row]).reshape(
                        rows, table.size
                    )
                )
                own.append((at, at + table.size, table.shape))
                other = sum(self.ends(number)) - step.variable
                lookups.append((at, other, step.variable, self.shape(step)[-1]))
                at += table.size
            start, stop = self.model.start[step.variable : step.variable + 2].tolist()
            places.append(_Place(start, stop, self.expanded(step, step.after), tuple(own)))
        loss = np.concatenate(losses)
        return _LaidOut(
            np.where(np.isfinite(loss), loss, 0.0),
            np.where(np.isfinite(loss), 0.0, np.inf),
            np.concatenate(units, axis=1).astype(np.float64),
            tuple(places),
            *np.array(lookups).T,
        )

    def link_totals(self, options: NDArray[np.int64]) -> tuple[float, NDArray[np.float64]]:
        """Loss and units (R,) of all links, given the option (V,) of every variable of the model."""
        laid = self._laid_out
        position = options - self.model.start[:-1]
        at = laid.entry + position[laid.other] * laid.width + position[laid.closing]
        return float(laid.loss[at].sum()), laid.units[:, at].sum(axis=1)

    def tables(
        self,
        options: NDArray[np.float64],
        multipliers: NDArray[np.float64],
        loss_weight: float,
    ) -> list[NDArray[np.float64]]:
        """The least Lagrangian loss from each step on, given the frontier and the variable's option.

        `options` (M,) holds the weighted losses of all options of the model.
        """
        laid = self._laid_out
        weighted = laid.forbidden + loss_weight * laid.loss + multipliers @ laid.units
        found: list[NDArray[np.float64]] = []
        to_go = np.zeros(())
        for place in reversed(laid.places):
            table = options[place.start : place.stop] + to_go.reshape(place.to_go)
            for start, stop, shape in place.links:
                table = table + weighted[start:stop].reshape(shape)
            found.append(table)
            to_go = table.min(axis=-1)
        return found[::-1]

    def best(self, tables: list[NDArray[np.float64]]) -> dict[int, int]:
        """The position of the option that every variable takes in the answer of least loss."""
        taken: dict[int, int] = {}
        for step, table in zip(self.steps, tables, strict=True):
            taken[step.variable] = int(table[tuple(taken[v] for v in step.before)].argmin())
        return taken


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a step finds its options, and its links among all tables, with the shapes to add."""

    start: int
    stop: int
    to_go: tuple[int, ...]
    links: tuple[tuple[int, int, tuple[int, ...]], ...]


@dataclass(frozen=True, eq=False)
class _LaidOut:
    """All links' losses, infinity where forbidden, and units (R, ...), laid end to end.

    Link k begins at `entry[k]`, a line of `width[k]` per option of variable `other[k]`, one entry per
    option of variable `closing[k]`.
    """

    loss: NDArray[np.float64]
    forbidden: NDArray[np.float64]
    units: NDArray[np.float64]
    places: tuple[_Place, ...]
    entry: NDArray[np.int64]
    other: NDArray[np.int64]
    closing: NDArray[np.int64]
    width: NDArray[np.int64]


def components(model: Model) -> list[Component]:
    """The components of linked variables, each in a good order; others are in none.

    Raises `UnsupportedProblemError` where the links are too dense for tables of `MOST_ENTRIES`.
    """
    if not model.links:
        return []
    number = connected(len(model), [[link.first, link.second] for link in model.links])
    own: dict[int, list[int]] = {}
    for k, link in enumerate(model.links):
        own.setdefault(int(number[link.first]), []).append(k)
    return [_component(model, links) for _, links in sorted(own.items())]


def _component(model: Model, links: list[int]) -> Component:
    neighbours: dict[int, set[int]] = {}
    for k in links:
        a, b = model.links[k].first, model.links[k].second
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    counts = {v: int(model.counts[v]) for v in neighbours}
    orders = [sorted(neighbours), _narrow_order(neighbours, counts)]
    size, order = min(
        ((_entries(neighbours, counts, order), order) for order in orders), key=lambda pair: pair[0]
    )
    if size > MOST_ENTRIES:
        raise UnsupportedProblemError(
            f"{len(order)} layers are linked too densely for an exact search: tables of {size:,} "
            f"entries, at most {MOST_ENTRIES:,}"
        )
    steps, place = [], {v: k for k, v in enumerate(order)}
    before: tuple[int, ...] = ()
    for variable, after in zip(order, _frontiers(neighbours, order), strict=True):
        closed = [
            k
            for k in links
            if variable in (model.links[k].first, model.links[k].second)
            and max(place[model.links[k].first], place[model.links[k].second]) == place[variable]
        ]
        steps.append(FrontierStep(variable, before, after, tuple(closed)))
        before = after
    return Component(model, tuple(links), tuple(steps))


def _frontiers(neighbours: dict[int, set[int]], order: list[int]) -> Iterable[tuple[int, ...]]:
    """The frontier after each variable of an order."""
    left = {v: len(near) for v, near in neighbours.items()}
    frontier: list[int] = []
    for variable in order:
        for near in neighbours[variable]:
            left[near] -= 1
        frontier = [v for v in (*frontier, variable) if left[v]]
        yield tuple(frontier)


def _entries(neighbours: dict[int, set[int]], counts: dict[int, int], order: list[int]) -> int:
    """Entries of all tables of an order."""
    total, before = 0, 1
    for variable, after in zip(order, _frontiers(neighbours, order), strict=True):
        total += before * counts[variable]
        before = math.prod(counts[v] for v in after)
    return total


def _narrow_order(neighbours: dict[int, set[int]], counts: dict[int, int]) -> list[int]:
    """Take next, of what the frontier is linked to, what leaves the smallest frontier."""
    left = {v: len(near) for v, near in neighbours.items()}
    order: list[int] = []
    frontier: set[int] = set()
    rest = set(neighbours)
    while rest:
        near = {n for v in frontier for n in neighbours[v]} & rest or rest
        chosen = min(near, key=lambda v: (_growth(v, frontier, left, neighbours, counts), v))
        order.append(chosen)
        rest.discard(chosen)
        for n in neighbours[chosen]:
            left[n] -= 1
        frontier = {v for v in frontier | {chosen} if left[v]}
    return order


def _growth(
    variable: int,
    frontier: set[int],
    left: dict[int, int],
    neighbours: dict[int, set[int]],
    counts: dict[int, int],
) -> float:
    """By what factor, as a logarithm, the frontier's tables grow when a variable is taken."""
    closed = [n for n in neighbours[variable] if n in frontier and left[n] == 1]
    own = math.log(counts[variable]) if left[variable] else 0.0
    return round(own - math.fsum(math.log(counts[n]) for n in closed), 9)
