"""An allocation problem as one linear form: blocks of variables, budgets as rows, links.

Of every block one variable is 1 and the others are 0. The first blocks are the groups of tied
layers, a variable being a row of the group; the blocks behind them are the pairwise terms, a
variable being a pair of rows. Links say what goes together: equal bits where layers are tied on one
side, and the pair of those rows that the two groups take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.exact import INT64_SAFE_TOTAL
from bitwright.problems.problem import AllocationProblem
from bitwright.search.reduction import Groups, Integers, merge_ties
from bitwright.search.rows import Row, budget_rows


@dataclass(frozen=True, eq=False)
class Joint:
    """A pairwise term of two groups: variable `start + a * shape[1] + b` takes their rows a and b."""

    groups: tuple[int, int]
    start: int
    shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Limit:
    """One row: a configuration costs `base` and one `unit` for each of the units that it takes.

    `units` has shape (V,) and is 0 for the cheapest variable of each block; `room` units keep the
    budget. All are exact.
    """

    label: str
    cost: str
    budget: Fraction
    units: Integers
    most: int
    base: Fraction
    unit: Fraction

    @cached_property
    def room(self) -> int:
        """How many units the budget leaves above the cheapest variables, negative where none do.

        No more than `most`, the units of the dearest variable of each block.
        """
        return min(math.floor((self.budget - self.base) / self.unit), self.most)


@dataclass(frozen=True, eq=False)
class Form:
    """The problem in variables; shapes: V variables in B blocks, G of which are groups.

    `start` (B + 1,) tells the blocks apart, `loss` (V,) is what a variable adds, summed from
    terms that come to `loss_size` without their signs. `side_ties` give for each tie of one side the
    bits that every row of its groups has.
    """

    problem: AllocationProblem
    groups: Groups
    joints: tuple[Joint, ...]
    side_ties: tuple[dict[int, NDArray[np.int64]], ...]
    start: NDArray[np.int64]
    loss: NDArray[np.float64]
    loss_size: NDArray[np.float64]
    limits: tuple[Limit, ...]

    @cached_property
    def fits(self) -> NDArray[np.bool_]:
        """Whether a variable breaks no budget by itself, shape (V,)."""
        fits = np.ones(len(self.loss), dtype=bool)
        for limit in self.limits:
            fits &= np.asarray(limit.units <= limit.room, dtype=bool)
        return fits

    @cached_property
    def links(self) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]:
        """Pairs of variable sets of which equally many are taken."""
        links = []
        for tie in self.side_ties:
            for (a, bits_a), (b, bits_b) in pairwise(tie.items()):
                links += [
                    (
                        self.start[a] + np.flatnonzero(bits_a == bits),
                        self.start[b] + np.flatnonzero(bits_b == bits),
                    )
                    for bits in np.union1d(bits_a, bits_b)
                ]
        for joint in self.joints:
            numbers = np.arange(joint.start, joint.start + math.prod(joint.shape))
            numbers = numbers.reshape(joint.shape)
            for group, lines in zip(joint.groups, (numbers, numbers.T), strict=True):
                links += [(line, self.start[group] + np.array([k])) for k, line in enumerate(lines)]
        return tuple(links)

    def largest_regret(self, kept: NDArray[np.bool_]) -> float:
        """By how much the loss of a kept variable is above the least of its block at most."""
        kept_loss = np.where(kept, self.loss, np.inf)
        least = np.repeat(np.minimum.reduceat(kept_loss, self.start[:-1]), np.diff(self.start))
        return float((self.loss - least)[kept].max(initial=0.0))

    def variables(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The variables that are 1 where the groups take these rows: (..., G) gives (..., B)."""
        pairs = []
        for joint in self.joints:
            a, b = (rows[..., group] - self.start[group] for group in joint.groups)
            pairs.append(joint.start + a * joint.shape[1] + b)
        return np.concatenate([rows, *(p[..., None] for p in pairs)], axis=-1)

    def excess(self, limit: Limit, rows: NDArray[np.int64]) -> int:
        """Units by which the groups' rows are above a limit, negative below; rows of shape (G,)."""
        return int(limit.units[self.variables(rows)].sum()) - limit.room

    def total_loss(self, rows: NDArray[np.int64]) -> float:
        """The loss of the groups' rows as the problem judges it; rows of shape (G,)."""
        return self.problem.evaluate(self.groups.selection(rows)).loss

    def ties_hold(self, rows: NDArray[np.int64]) -> bool:
        """Whether the groups' rows, shape (G,), have equal bits where one side is tied."""
        return all(
            len({int(bits[rows[group] - self.start[group]]) for group, bits in tie.items()}) == 1
            for tie in self.side_ties
        )


def form_of(problem: AllocationProblem) -> Form:
    """Write a problem as blocks, rows and links; raises `InputError` for contradicting ties."""
    groups = merge_ties(problem)
    terms = _Terms(problem, groups)
    sizes = [*np.diff(groups.start), *(math.prod(shape) for shape in terms.shapes)]
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    joints = tuple(
        Joint(pair, int(first), shape)
        for pair, first, shape in zip(terms.pairs, start[len(groups) :], terms.shapes, strict=False)
    )
    losses = [np.array(term.loss) for term in problem.interactions]
    return Form(
        problem=problem,
        groups=groups,
        joints=joints,
        side_ties=_side_ties(problem, groups),
        start=start,
        loss=terms.spread(groups.loss, losses),
        loss_size=terms.spread(np.abs(groups.loss), [np.abs(matrix) for matrix in losses]),
        limits=tuple(_limit(problem, row, groups, terms, start) for row in budget_rows(problem)),
    )


class _Terms:
    """The pairwise terms between groups; those within one group add to its rows."""

    def __init__(self, problem: AllocationProblem, groups: Groups) -> None:
        self._problem, self._groups = problem, groups
        self._places = [self._place(term.layers) for term in problem.interactions]
        apart = [tuple(sorted(g for g, _ in ends)) for ends in self._places]
        self.pairs: list[tuple[int, int]] = [(a, b) for a, b in dict.fromkeys(apart) if a != b]
        counts = np.diff(groups.start)
        self.shapes = [(int(counts[a]), int(counts[b])) for a, b in self.pairs]

    def _place(self, layers: tuple[str, str]) -> list[tuple[int, NDArray[np.int64]]]:
        """Group of each of two layers, and the position of the layer's choice in the group's rows."""
        ends = []
        for i in (self._problem.index[name] for name in layers):
            group = int(self._groups.group_of_layer[i])
            rows = slice(self._groups.start[group], self._groups.start[group + 1])
            first = self._groups.member_start[:-1][rows] + self._groups.place_in_group[i]
            ends.append((group, self._groups.members[first] - self._problem.choice_start[i]))
        return ends

    def spread(self, rows: NDArray[Any], matrices: Sequence[NDArray[Any] | None]) -> NDArray[Any]:
        """Values of all variables, (V,): those of the groups' rows and what each term adds."""
        kind = np.result_type(rows, *(m for m in matrices if m is not None))
        values = rows.astype(kind)
        parts = {
            pair: np.zeros(shape, dtype=kind)
            for pair, shape in zip(self.pairs, self.shapes, strict=True)
        }
        for matrix, ((a, at_a), (b, at_b)) in zip(matrices, self._places, strict=True):
            if matrix is None:
                continue
            if a == b:
                first = self._groups.start[a]
                values[first : first + len(at_a)] += matrix[at_a, at_b]
            else:
                added = matrix[np.ix_(at_a, at_b)]
                parts[min(a, b), max(a, b)] += added if a < b else added.T
        return np.concatenate([values, *(part.ravel() for part in parts.values())])


def _limit(
    problem: AllocationProblem, row: Row, groups: Groups, terms: _Terms, start: NDArray[np.int64]
) -> Limit:
    """A budget row over all variables, pairwise costs included, counted from the cheapest ones."""
    scale = 10**row.digits
    units = np.add.reduceat(row.units[groups.members], groups.member_start[:-1])
    matrices = [
        np.array(term.costs[row.cost], dtype=object) * scale
        if row.step is None and row.cost in term.costs
        else None
        for term in problem.interactions
    ]
    values = terms.spread(units, matrices)
    if values.dtype == object:
        finer = math.lcm(*(Fraction(v).denominator for v in values))
        values = np.array([int(v * finer) for v in values], dtype=object)
        scale *= finer
    least = np.minimum.reduceat(values, start[:-1])
    above = values - np.repeat(least, np.diff(start))
    common = math.gcd(*above.tolist()) or 1
    above //= common
    most = int(np.maximum.reduceat(above, start[:-1]).astype(object).sum())
    if most < INT64_SAFE_TOTAL:
        above = above.astype(np.int64)
    fixed = problem.fixed_costs.get(row.cost, Fraction(0))
    return Limit(
        label=row.label,
        cost=row.cost,
        budget=problem.budgets[row.cost],
        units=above,
        most=most,
        base=Fraction(int(least.astype(object).sum()), scale) + fixed,
        unit=Fraction(common, scale),
    )


def _side_ties(
    problem: AllocationProblem, groups: Groups
) -> tuple[dict[int, NDArray[np.int64]], ...]:
    """For each tie of one side that links groups, the tied bits of every row of each group."""
    found = []
    for tie in problem.ties:
        if tie.side == "all":
            continue
        bits = problem.weight_bits if tie.side == "weight" else problem.activation_bits
        of_group = {int(groups.group_of_layer[problem.index[name]]): name for name in tie.layers}
        if len(of_group) > 1:
            # Layers of one group share all of their precision, so that any of them speaks for it.
            first = {
                g: groups.member_start[groups.start[g] : groups.start[g + 1]] for g in of_group
            }
            found.append({g: bits[groups.members[first[g]]] for g in of_group})
    return tuple(found)
