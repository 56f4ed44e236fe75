"""Exact reductions of a model: what no answer can take, or need not take, is left out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.search.general.model import Link, Model
from bitwright.search.reduction import Integers

_SAFE = 2**62
_COMPARED_AT_ONCE = 2**22
_MOST_COMPARED = 2**28


def reduced(model: Model, *, every_row: bool = False) -> Model:
    """The model without options that break a row by themselves, or that another always replaces.

    Rows that nothing breaks are left out and units counted as coarsely as they come, unless
    `every_row` stays as it is but for what the least options of all variables take.
    """
    while True:
        model = _from_least(model)
        if len(model.limits) and int(model.limits.min()) < 0:
            return model
        fits = _fitting(model)
        if fits.all():
            break
        model = kept_options(model, fits)
        if not model.counts.all():
            return model
    model = _narrow(model) if every_row else _narrow(_coarse(_binding(model)))
    undominated = _undominated(model)
    return model if undominated.all() else _from_least(kept_options(model, undominated))


def _from_least(model: Model) -> Model:
    """Units counted from the least of every variable and of every link."""
    least = np.minimum.reduceat(model.units, model.start[:-1], axis=1)
    units = model.units - np.repeat(least, model.counts, axis=1)
    limits = model.limits - least.sum(axis=1)
    links = []
    for link in model.links:
        if link.units is not None:
            base = link.units.min(axis=(1, 2))
            limits = limits - base
            link = replace(link, units=link.units - base[:, None, None])  # noqa: PLW2901
        links.append(link)
    return replace(model, units=units, limits=limits, links=tuple(links))


def _fitting(model: Model) -> NDArray[np.bool_]:
    """The options that fit into every row by themselves and that every link allows."""
    fits = np.asarray((model.units <= model.limits[:, None]).all(axis=0), dtype=bool)
    for link in model.links:
        allowed = np.isfinite(link.loss)
        if link.units is not None:
            allowed &= np.asarray(
                (link.units <= model.limits[:, None, None]).all(axis=0), dtype=bool
            )
        for variable, axis in ((link.first, 1), (link.second, 0)):
            fits[model.start[variable] : model.start[variable + 1]] &= allowed.any(axis=axis)
    return fits


def kept_options(model: Model, kept: NDArray[np.bool_]) -> Model:
    """The model with some of its options only."""
    own = [kept[model.start[v] : model.start[v + 1]] for v in range(len(model))]
    links = []
    for link in model.links:
        grid = np.ix_(own[link.first], own[link.second])
        units = None if link.units is None else link.units[:, grid[0], grid[1]]
        links.append(replace(link, loss=link.loss[grid], units=units))
    return replace(
        model,
        start=np.concatenate([[0], np.cumsum(np.add.reduceat(kept, model.start[:-1]))]),
        loss=model.loss[kept],
        units=model.units[:, kept],
        row=model.row[kept],
        links=tuple(links),
    )


def _binding(model: Model) -> Model:
    """Only the rows that some answer breaks and that no other row implies."""
    most = np.maximum.reduceat(model.units, model.start[:-1], axis=1).sum(axis=1)
    for link in model.links:
        if link.units is not None:
            most = most + link.units.max(axis=(1, 2))
    rows = np.flatnonzero(np.asarray(most > model.limits, dtype=bool))
    implied = {
        int(k)
        for k in rows
        for other in rows
        if k != other
        and _implies(model, int(other), int(k))
        and not (_implies(model, int(k), int(other)) and k < other)
    }
    return _with_rows(model, np.array([k for k in rows if k not in implied], dtype=np.int64))


def _implies(model: Model, one: int, other: int) -> bool:
    """Whether a row asks for no less of any answer than another."""
    return (
        model.limits[one] <= model.limits[other]
        and not np.any(model.units[one] < model.units[other])
        and all(
            link.units is None or not np.any(link.units[one] < link.units[other])
            for link in model.links
        )
    )


def _with_rows(model: Model, rows: NDArray[np.int64]) -> Model:
    links = [
        replace(link, units=None if link.units is None or not len(rows) else link.units[rows])
        for link in model.links
    ]
    return replace(model, units=model.units[rows], limits=model.limits[rows], links=tuple(links))


def _coarse(model: Model) -> Model:
    """Rows in the largest units that write them."""
    units, limits, links = model.units.copy(), model.limits.copy(), list(model.links)
    for k in range(len(limits)):
        unit = _divisor(units[k])
        for link in links:
            if link.units is not None:
                unit = math.gcd(unit, _divisor(link.units[k]))
        if unit > 1:
            units[k], limits[k] = units[k] // unit, limits[k] // unit
            links = [_divided(link, k, unit) for link in links]
    return replace(model, units=units, limits=limits, links=tuple(links))


def _narrow(model: Model) -> Model:
    """Units as int64 where no sum can overflow, else as Python integers."""
    units = model.units
    most = [int(m) for m in np.maximum.reduceat(units, model.start[:-1], axis=1).sum(axis=1)]
    for link in model.links:
        if link.units is not None:
            most = [a + int(b) for a, b in zip(most, link.units.max(axis=(1, 2)), strict=True)]
    kind: Any = np.int64 if max([*most, *map(int, model.limits)], default=0) < _SAFE else object
    links = [
        link if link.units is None else replace(link, units=link.units.astype(kind))
        for link in model.links
    ]
    limits = model.limits.astype(kind)
    return replace(model, units=units.astype(kind), limits=limits, links=tuple(links))


def _divided(link: Link, k: int, unit: int) -> Link:
    if link.units is None:
        return link
    units = link.units.copy()
    units[k] = units[k] // unit
    return replace(link, units=units)


def _divisor(units: Integers) -> int:
    if units.dtype == object:
        return math.gcd(*units.ravel().tolist())
    return int(np.gcd.reduce(units, axis=None))


def _undominated(model: Model) -> NDArray[np.bool_]:
    """Drops options that another of the variable matches in loss, in every row and in every link.

    Of equal options the first stays.
    """
    kept = np.ones(len(model.loss), dtype=bool)
    of_variable: dict[int, list[Link]] = {}
    for link in model.links:
        of_variable.setdefault(link.first, []).append(link)
        of_variable.setdefault(link.second, []).append(link)
    for variable, links in of_variable.items():
        own = slice(model.start[variable], model.start[variable + 1])
        losses, units = [model.loss[None, own]], [model.units[:, own]]
        for link in links:
            turned = link.first == variable
            losses.append(link.loss.T if turned else link.loss)
            if link.units is not None:
                table = link.units.transpose(0, 2, 1) if turned else link.units
                units.extend(table)
        columns = [np.concatenate(losses)[:, None], np.concatenate(units)[:, None]]
        kept[own] = ~_dominated(columns)[0]
    free = np.ones(len(model), dtype=bool)
    free[list(of_variable)] = False
    lines = np.flatnonzero(free & (model.counts > 1))
    most = int(model.counts.max())
    if len(lines) * most**2 * (len(model.limits) + 1) > _MOST_COMPARED:
        return kept
    size = max(_COMPARED_AT_ONCE // most**2, 1)
    for part in (lines[k : k + size] for k in range(0, len(lines), size)):
        inside = np.arange(most) < model.counts[part, None]
        option = model.start[part, None] + np.where(inside, np.arange(most), 0)
        columns = [model.loss[None, option], *(row[None, option] for row in model.units)]
        kept[option[inside & _dominated(columns)]] = False
    return kept


def _dominated(columns: list[NDArray[Any]]) -> NDArray[np.bool_]:
    """Which options of every line another matches throughout; all columns are (C, lines, options)."""
    _, lines, options = columns[0].shape
    no_more = np.ones((lines, options, options), dtype=bool)
    less = np.zeros_like(no_more)
    for column in columns:
        one, other = column[:, :, :, None], column[:, :, None, :]
        no_more &= np.asarray(one <= other, dtype=bool).all(axis=0)
        less |= np.asarray(one < other, dtype=bool).any(axis=0)
    earlier = np.arange(options)[:, None] < np.arange(options)
    return np.asarray((no_more & (less | earlier)).any(axis=1), dtype=bool)
