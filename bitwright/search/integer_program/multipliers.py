"""Multipliers under which budgets contradict each other: the best answer to a game, proved exactly.

One player weighs the limits, the other takes the configuration of least weighted excess. Weights
under which that excess is above 0 prove that no configuration meets all limits; the strongest are
found by solving the game over the configurations seen so far and adding the best reply to it.

.. [KCD1961] Kelley: The cutting-plane method for solving convex programs. J. SIAM 8(4), 1960.
.. [Dantzig1951] Dantzig: A proof of the equivalence of the programming problem and the game problem.
   In Koopmans (ed.): Activity analysis of production and allocation, 1951.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bitwright.search.integer_program.form import Form, Limit

_REPLIES = 400
_WEIGHT_UNITS = 10**9
_CLOSE = 1e-9


@dataclass(frozen=True)
class Multipliers:
    """One weight per limit, adding up to 1, under which the budgets contradict each other.

    A limit counts in shares of its budget, and in plain units of its cost where the budget is 0. For
    every configuration sum_k weight_k * share_k >= `least` > `allowed`, whereas the budgets would
    make it at most `allowed`, which is 1 unless a budget is 0.
    """

    weights: tuple[Fraction, ...]
    least: Fraction
    allowed: Fraction


class Shares:
    """The limits of a form in shares of their budgets: excess of variables, (K, V), and (K,) before.

    `pressing` (K,) says which limits some variables exceed together.

    Pairwise terms count with the least they can cost beside the rows, so that sums over blocks are
    never above what a configuration costs.
    """

    def __init__(self, form: Form) -> None:
        self._start = form.start
        self._limits = form.limits
        per_unit = [float(limit.unit / _whole(limit)) for limit in form.limits]
        units = [limit.units.astype(np.float64) for limit in form.limits]
        self.values = np.reshape(
            [p * u for p, u in zip(per_unit, units, strict=True)], (len(units), len(form.loss))
        )
        self.before = np.array([float((m.base - m.budget) / _whole(m)) for m in form.limits])
        self.pressing = np.array([limit.room < limit.most for limit in form.limits], dtype=bool)

    def least(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Excess of every limit, (K,), where each block takes the variable of least weighted cost."""
        first = least_of_blocks(weights @ self.values, self._start)
        excess: NDArray[np.float64] = self.values[:, first].sum(axis=1) + self.before
        return excess

    def proof(self, weights: NDArray[np.float64]) -> Multipliers | None:
        """The weights as exact numbers, if they prove the contradiction exactly."""
        shares = [Fraction(round(w * _WEIGHT_UNITS), _WEIGHT_UNITS) for w in weights.tolist()]
        shares = [share / sum(shares) for share in shares]
        prices = [s * m.unit / _whole(m) for s, m in zip(shares, self._limits, strict=True)]
        common = math.lcm(*(price.denominator for price in prices))
        value = np.zeros(int(self._start[-1]), dtype=object)
        for price, limit in zip(prices, self._limits, strict=True):
            if price:
                value += int(price * common) * limit.units.astype(object)
        least = Fraction(int(np.minimum.reduceat(value, self._start[:-1]).sum()), common)
        weighed = list(zip(shares, self._limits, strict=True))
        allowed = sum((s * m.budget / _whole(m) for s, m in weighed), Fraction(0))
        least += sum((s * m.base / _whole(m) for s, m in weighed), Fraction(0))
        return Multipliers(tuple(shares), least, allowed) if least > allowed else None

    def prices(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weights as prices of a unit of each limit, (K,)."""
        per_unit = np.array([float(limit.unit / _whole(limit)) for limit in self._limits])
        prices: NDArray[np.float64] = weights * per_unit
        return prices


def least_of_blocks(value: NDArray[np.float64], start: NDArray[np.int64]) -> NDArray[np.int64]:
    """The variable of least value of every block, the first of equal ones, (B,)."""
    least = np.repeat(np.minimum.reduceat(value, start[:-1]), np.diff(start))
    variables = np.flatnonzero(value == least)
    first: NDArray[np.int64] = variables[np.searchsorted(variables, start[:-1])]
    return first


def strongest(shares: Shares) -> NDArray[np.float64]:
    """Weights, (K,), under which the least weighted excess is as large as it gets.

    Limits that nothing exceeds have no weight, unless there are no others.
    """
    count = len(shares.before)
    pressing = shares.pressing if shares.pressing.any() else np.ones(count, dtype=bool)
    replies = [shares.least(weights) for weights in np.eye(count)[pressing]]
    best: NDArray[np.float64] = pressing / pressing.sum()
    most = -math.inf
    for _ in range(_REPLIES):
        weights = np.zeros(count)
        weights[pressing], value = solve_game(np.array(replies).T[pressing])
        reply = shares.least(weights)
        if weights @ reply > most:
            best, most = weights, float(weights @ reply)
        if value - most <= _CLOSE * max(1.0, abs(value)):
            break
        replies.append(reply)
    return best


def solve_game(payoff: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Weights of the rows that make the least column sum largest, and that sum; by the simplex method.

    With all payoffs above 0 the columns' player maximises sum y with payoff @ y <= 1 [Dantzig1951].
    """
    rows, columns = payoff.shape
    shift = 1.0 - payoff.min()
    tableau = np.zeros((rows + 1, columns + rows + 1))
    tableau[:rows, :columns] = payoff + shift
    tableau[:rows, columns:-1] = np.eye(rows)
    tableau[:rows, -1] = 1.0
    tableau[rows, :columns] = -1.0
    for step in range(50 * (rows + columns)):
        falling = np.flatnonzero(tableau[rows, :-1] < -1e-12)
        if not len(falling):
            break
        # The steepest column first; Bland's rule, which cannot cycle, when that takes long.
        steepest = falling[np.argmin(tableau[rows, falling])]
        column = steepest if step < 10 * (rows + columns) else falling[0]
        above = np.flatnonzero(tableau[:rows, column] > 1e-12)
        row = above[np.argmin(tableau[above, -1] / tableau[above, column])]
        tableau[row] /= tableau[row, column]
        others = np.arange(rows + 1) != row
        tableau[others] -= np.outer(tableau[others, column], tableau[row])
    weights = np.maximum(tableau[rows, columns:-1], 0.0)
    weights /= weights.sum()
    return weights, float((weights @ payoff).min())


def _whole(limit: Limit) -> Fraction:
    """What a share of the limit is a share of."""
    return limit.budget or Fraction(1)
