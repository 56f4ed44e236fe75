"""Infeasible budgets in plain words: what cannot be reached, by how much, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.exact import plain
from bitwright.problems.problem import AllocationProblem
from bitwright.search.reach import Reaches
from bitwright.search.reduction import merge_ties
from bitwright.search.rows import Row, budget_rows

_ROUNDS = 400
_WEIGHT_UNITS = 10**6


def unreachable(limits: Mapping[str, Fraction], reaches: Reaches) -> str | None:
    """Name every budget that no configuration meets, even alone; None where there is none."""
    lines = []
    for name, limit in limits.items():
        reach = reaches.known(name)
        if reach is not None and reach.least > limit:
            lines.append(
                f"budget {name!r} = {_figure(limit)} cannot be met: the least that any configuration "
                f"takes is {_figure(reach.least)}, {_figure(reach.least - limit)} more"
            )
    return "; ".join(lines) or None


@dataclass(frozen=True)
class Multipliers:
    """One weight per row, adding up to 1, under which the budgets contradict each other.

    For every configuration sum_k weight_k * cost_k / budget_k >= `least` > 1, whereas the budgets
    would make it at most 1.
    """

    weights: tuple[Fraction, ...]
    least: Fraction


def worded(problem: AllocationProblem, proof: Multipliers | None) -> str:
    """Say why budgets that can each be met cannot be met together, or that it is not proved."""
    if not problem.budgets:
        return "no configuration was found; that there is none is not proved"
    names = " and ".join(repr(name) for name in problem.budgets)
    if proof is None:
        return f"no configuration that meets budgets {names} was found; that there is none is not proved"
    terms = " + ".join(
        f"{float(weight):g} x {row.label} / {_figure(problem.budgets[row.cost])}"
        for row, weight in zip(budget_rows(problem), proof.weights, strict=True)
        if weight
    )
    return (
        f"budgets {names} can each be met, but not together: {terms} is at least "
        f"{float(proof.least):.6g} for every configuration, and the budgets ask for at most 1"
    )


def contradiction(problem: AllocationProblem) -> Multipliers | None:
    """Search for multipliers that prove the budgets contradictory; the proof is checked exactly.

    Multiplicative weights: rows that the cheapest answer under the current weights breaks gain
    weight. None says that none were found, not that there are none.

    .. [FS1999] Freund, Schapire: Adaptive game playing using multiplicative weights. Games and
       Economic Behavior 29, 1999.
    """
    rows = budget_rows(problem)
    if len(rows) < 2 or not all(problem.budgets.values()):
        return None
    game = _Game(problem, rows)
    excess_of_cheapest = np.array([game.excess(np.eye(len(rows))[k]) for k in range(len(rows))])
    rate = math.sqrt(math.log(len(rows)) / _ROUNDS) / max(np.abs(excess_of_cheapest).max(), 1e-300)
    gains, mean = np.zeros(len(rows)), np.zeros(len(rows))
    for _ in range(_ROUNDS):
        weights = np.exp(rate * (gains - gains.max()))
        weights /= weights.sum()
        mean += weights / _ROUNDS
        excess = game.excess(weights)
        if weights @ excess > 0 and (proof := game.proof(weights)):
            return proof
        gains += excess
    return game.proof(mean)


class _Game:
    """The rows over groups of tied layers, in shares of the budget."""

    def __init__(self, problem: AllocationProblem, rows: list[Row]) -> None:
        groups = merge_ties(problem)
        self._start, self._counts = groups.start[:-1], np.diff(groups.start)
        self._units = [
            np.add.reduceat(r.units[groups.members], groups.member_start[:-1]) for r in rows
        ]
        self._budget_units = [problem.budgets[r.cost] * 10**r.digits for r in rows]
        fixed = [problem.fixed_costs.get(r.cost, 0) / problem.budgets[r.cost] for r in rows]
        self._allowed = [1 - f for f in fixed]
        self._allowed_floats = np.array([float(a) for a in self._allowed])
        self._floats = np.array(
            [
                u.astype(np.float64) / float(b)
                for u, b in zip(self._units, self._budget_units, strict=True)
            ]
        )

    def excess(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """By how much each row is exceeded by the configuration of least weighted cost."""
        value = weights @ self._floats
        cheapest = np.repeat(np.minimum.reduceat(value, self._start), self._counts)
        rows = np.flatnonzero(value == cheapest)
        first = rows[np.searchsorted(rows, self._start)]
        excess: NDArray[np.float64] = self._floats[:, first].sum(axis=1) - self._allowed_floats
        return excess

    def proof(self, weights: NDArray[np.float64]) -> Multipliers | None:
        """The weights as exact numbers, if they prove it exactly."""
        shares = [Fraction(round(w * _WEIGHT_UNITS), _WEIGHT_UNITS) for w in weights.tolist()]
        shares = [share / sum(shares) for share in shares]
        per_unit = [s / b for s, b in zip(shares, self._budget_units, strict=True)]
        common = math.lcm(*(p.denominator for p in per_unit))
        value = np.zeros(len(self._units[0]), dtype=object)
        for share, units in zip(per_unit, self._units, strict=True):
            value += int(share * common) * units.astype(object)
        least = Fraction(int(np.minimum.reduceat(value, self._start).sum()), common)
        allowed = sum((s * a for s, a in zip(shares, self._allowed, strict=True)), Fraction(0))
        return Multipliers(tuple(shares), 1 + least - allowed) if least > allowed else None


def _figure(value: Fraction) -> str:
    number = plain(value)
    return f"{number:,}" if isinstance(number, int) else f"{number:.6g}"
