"""Every configuration tried at once: the arrays of `brute_force`, for problems of some million.

All figures stand in arrays with one axis per layer, so that nothing is shared with the solvers, nor
with `AllocationProblem.evaluate`. Costs are exact integers. Losses are float sums; wherever two
of them are so close that rounding might decide, `math.fsum` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem

_MOST_CONFIGURATIONS = 20_000_000
_SAFE_TOTAL = 2**62
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Enumeration:
    """All configurations within budgets and ties, P of them, in the order of `itertools.product`.

    `number` (P,) is a configuration's place among all of the product, `losses` (P,) are float sums
    that are right within `rounding`, `costs[name]` (P,) integers over `scales[name]`.
    """

    problem: AllocationProblem
    number: NDArray[np.int64]
    losses: NDArray[np.float64]
    costs: dict[str, NDArray[Any]]
    scales: dict[str, int]
    rounding: float

    def __len__(self) -> int:
        return len(self.losses)

    def least_loss(self) -> float | None:
        """The least loss within budgets and ties, by `math.fsum`; None where there is none."""
        if not len(self):
            return None
        close = np.flatnonzero(self.losses <= self.losses.min() + 2 * self.rounding)
        return min(self.exact_losses(close))

    def front(self, *costs: str) -> list[tuple[Any, ...]]:
        """All non-dominated (cost, ..., loss), by rising first cost, as `brute_force_front`."""
        values = [self.costs[name] for name in costs]
        lines = _hardly_dominated(values, self.losses, 2 * self.rounding)
        losses = self.exact_losses(lines)
        fractions = [
            [Fraction(int(u), self.scales[name]) for u in column[lines]]
            for name, column in zip(costs, values, strict=True)
        ]
        front: list[tuple[Any, ...]] = []
        for point in sorted(set(zip(*fractions, losses, strict=True))):
            rivals = front if len(costs) > 1 else front[-1:]
            if not any(all(a <= b for a, b in zip(kept, point, strict=True)) for kept in rivals):
                front.append(point)
        return front

    def selections(self, lines: NDArray[np.int64]) -> NDArray[np.int64]:
        """The selections of some configurations, shape (len(lines), N)."""
        counts = tuple(np.diff(self.problem.choice_start).tolist())
        positions = np.stack(np.unravel_index(self.number[lines], counts), axis=1)
        return self.problem.choice_start[:-1] + positions

    def exact_losses(self, lines: NDArray[np.int64]) -> list[float]:
        """The losses of some configurations, each rounded once."""
        taken = self.selections(lines)
        columns = [self.problem.loss[taken]]
        positions = taken - self.problem.choice_start[:-1]
        for term in self.problem.interactions:
            a, b = (positions[:, self.problem.index[name]] for name in term.layers)
            columns.append(np.array(term.loss)[a, b][:, None])
        return [math.fsum(line) for line in np.concatenate(columns, axis=1).tolist()]


def enumerated(problem: AllocationProblem) -> Enumeration:
    """Every configuration within budgets and ties; raises `ValueError` where there are too many."""
    shape = tuple(np.diff(problem.choice_start).tolist())
    if math.prod(shape) > _MOST_CONFIGURATIONS:
        raise ValueError(f"{math.prod(shape):,} configurations are too many to try each")
    fits = np.ones(shape, dtype=bool)
    for tie in problem.ties:
        _keep_tied(problem, fits, tie.layers, tie.side)
    costs, scales = {}, {}
    for name in problem.cost_names:
        totals, scales[name] = (_summed if name in problem.costs else _peak)(problem, name)
        costs[name] = np.broadcast_to(totals, shape)
        if name in problem.budgets:
            fits &= (costs[name] <= math.floor(problem.budgets[name] * scales[name])).astype(bool)
    tables = [problem.loss[list(problem.span(i))] for i in range(len(problem))]
    tables += [np.array(term.loss) for term in problem.interactions]
    losses = np.broadcast_to(_added(problem, tables), shape)
    return Enumeration(
        problem,
        number=np.flatnonzero(fits),
        losses=losses[fits],
        costs={name: totals[fits] for name, totals in costs.items()},
        scales=scales,
        rounding=_ROUNDING * math.fsum(float(np.abs(table).max()) for table in tables),
    )


def _along(problem: AllocationProblem, table: NDArray[Any], layers: Sequence[int]) -> NDArray[Any]:
    """A table over one or two layers, with these layers' axes and length 1 along the others."""
    if len(layers) == 2 and layers[0] > layers[1]:
        table, layers = table.T, layers[::-1]
    lengths = dict(zip(layers, table.shape, strict=True))
    return table.reshape([lengths.get(i, 1) for i in range(len(problem))])


def _added(problem: AllocationProblem, tables: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """The sum of one table per layer and, after these, one per interaction."""
    places: list[list[int]] = [[i] for i in range(len(problem))]
    places += [[problem.index[name] for name in term.layers] for term in problem.interactions]
    total: Any = 0
    for table, layers in zip(tables, places, strict=True):
        total = total + _along(problem, table, layers)
    return np.asarray(total)


def _summed(problem: AllocationProblem, name: str) -> tuple[NDArray[Any], int]:
    """The totals of a cost that is added over layers, as integers, and their scale."""
    column, fixed = problem.costs[name], problem.fixed_costs.get(name, Fraction(0))
    tables = [
        [column.value(j) for j in problem.span(i)] for i in range(len(problem))
    ] + [  # one row of fractions per layer, one matrix per interaction
        term.costs.get(name, ((Fraction(0),) * term.shape[1],) * term.shape[0])
        for term in problem.interactions
    ]
    arrays = [np.array(table, dtype=object) for table in tables]
    everything = [fixed, *(value for array in arrays for value in array.ravel())]
    scale = math.lcm(*(value.denominator for value in everything))
    units = [_integers(array, scale) for array in arrays]
    fixed_units = int(fixed * scale)
    if fixed_units + sum(int(array.max()) for array in units) < _SAFE_TOTAL:
        units = [array.astype(np.int64) for array in units]
    return _added(problem, units) + fixed_units, scale


def _peak(problem: AllocationProblem, name: str) -> tuple[NDArray[Any], int]:
    """The totals of a peak cost: the largest over all its steps."""
    steps = [step for peak in problem.peaks if peak.cost == name for step in peak.steps]
    fixed = problem.fixed_costs.get(name, Fraction(0))
    scale = math.lcm(
        fixed.denominator, *(number.denominator for step in steps for number in step.values())
    )
    largest: Any = 0
    for step in steps:
        value: Any = 0
        for layer, number in step.items():
            i = problem.index[layer]
            bits = problem.activation_bits[list(problem.span(i))].astype(object)
            value = value + _along(problem, bits * int(number * scale), [i])
        largest = np.maximum(largest, value)
    return np.asarray(largest + int(fixed * scale), dtype=object), scale


def _integers(values: NDArray[Any], scale: int) -> NDArray[Any]:
    units = [int(value * scale) for value in values.ravel()]
    return np.array(units, dtype=object).reshape(values.shape)


def _keep_tied(
    problem: AllocationProblem, fits: NDArray[np.bool_], layers: Sequence[str], side: str
) -> None:
    """Strike out, in place, what takes different choices in tied layers."""
    rows = [problem.index[name] for name in layers]

    def key(j: int) -> tuple[Any, ...]:
        weight, activation = int(problem.weight_bits[j]), int(problem.activation_bits[j])
        sides = {"weight": (weight,), "activation": (activation,)}
        return sides.get(side, (weight, activation, problem.variants[j]))

    keys = [[key(j) for j in problem.span(i)] for i in rows]
    for row, row_keys in zip(rows[1:], keys[1:], strict=True):
        same = np.array([[a == b for b in row_keys] for a in keys[0]])
        fits &= _along(problem, same, [rows[0], row])


def _hardly_dominated(
    costs: Sequence[NDArray[Any]], losses: NDArray[np.float64], slack: float
) -> NDArray[np.int64]:
    """Indices of the points that none dominates by more than the slack in loss."""
    ranks = [np.unique(column, return_inverse=True)[1] for column in costs]
    order: NDArray[np.int64] = np.lexsort((losses, *ranks[::-1]))
    kept = [order[:0]]
    while len(order):
        first = order[0]
        no_cheaper = np.all([rank[order] >= rank[first] for rank in ranks], axis=0)
        alike = np.all([rank[order] == rank[first] for rank in ranks], axis=0)
        worse = no_cheaper & (losses[order] > losses[first] + slack)
        kept.append(order[alike & ~worse])
        order = order[~alike & ~worse]
    return np.concatenate(kept)
