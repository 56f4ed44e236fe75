"""The textbook integer program of an allocation problem, written in PuLP and scaled.

    min  sum_v loss_v x_v    s.t.  one variable of each block, one row per budget or step of a peak,
                                   one row per link

Integer programming solvers work to tolerances, so that what enters them is brought to a scale where
these are small: losses and costs count from the least of their block, and variables that alone
break a budget are left out. A pairwise term is linearised by a variable per pair of rows, linked to
the rows it stands for, which is the tightest linear form of one term [SA1990].

.. [SA1990] Sherali, Adams: A hierarchy of relaxations between the continuous and convex hull
   representations for zero-one programming problems. SIAM J. Discrete Mathematics 3(3), 1990.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pulp
from numpy.typing import NDArray

from bitwright.search.integer_program.form import Form, Limit

_LARGEST_LOSS = 1e4
_LARGEST_ROOM = 1e4
_LEAST_FACTOR = 1e-5
_TOLERANCE = 1e-5
"""What the solvers' own tolerances may add up to in the scaled objective."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Rows of the groups that a solver takes, (G,), and its bound less what tolerances may hide."""

    rows: NDArray[np.int64]
    bound: float


@dataclass(frozen=True, eq=False)
class Duals:
    """The linear relaxation's price of a unit of each limit and its multiplier of each link."""

    limits: NDArray[np.float64]
    links: NDArray[np.float64]


class Program:
    """The program over the variables in `kept`, (V,), to be solved again after cuts."""

    def __init__(self, form: Form, kept: NDArray[np.bool_]) -> None:
        self._form, self._kept = form, kept
        self._blocks = [
            form.start[b] + np.flatnonzero(kept[form.start[b] : form.start[b + 1]])
            for b in range(len(form.start) - 1)
        ]
        self.possible = all(len(block) for block in self._blocks)
        self._model = pulp.LpProblem("allocation", pulp.LpMinimize)
        # Pairs of rows are whole where the rows are, so that only these need be integers.
        whole = form.start[len(form.groups)]
        self._x = {
            v: self._model.add_variable(f"x{v}", 0, 1, cat="Integer" if v < whole else "Continuous")
            for v in np.flatnonzero(kept).tolist()
        }
        self._set_objective()
        for block in self._blocks:
            self._model.addConstraint(self._sum(block) == 1)
        self._add_limits()
        for k, (some, others) in enumerate(form.links):
            if kept[some].any() or kept[others].any():
                self._model.addConstraint(self._sum(some) - self._sum(others) == 0, f"link{k}")

    def _sum(self, variables: Iterable[int], factors: NDArray[np.float64] | None = None) -> Any:
        return pulp.LpAffineExpression(
            [
                (self._x[v], 1.0 if factors is None else float(factors[v]))
                for v in variables
                if v in self._x
            ]
        )

    def _set_objective(self) -> None:
        loss = np.where(self._kept, self._form.loss, np.inf)
        least = np.minimum.reduceat(loss, self._form.start[:-1])
        regret = self._form.loss - np.repeat(least, np.diff(self._form.start))
        largest = self._form.largest_regret(self._kept)
        self._least_loss = math.fsum(least)
        self._loss_scale = _LARGEST_LOSS / largest if largest > 0 else 1.0
        self._model.setObjective(self._sum(self._x, regret * self._loss_scale))

    def _add_limits(self) -> None:
        """One row per limit that can be broken, divided to a modest room."""
        self._scales = {}
        for k, limit in enumerate(self._form.limits):
            most = sum(int(limit.units[block].max(initial=0)) for block in self._blocks)
            if most <= limit.room:
                continue
            self._scales[k] = min(_LARGEST_ROOM / max(limit.room, 1), 1.0)
            factors = limit.units.astype(np.float64) * self._scales[k]
            # Beside coefficients below this HiGHS 1.15 now and then calls optimal what is far from
            # it. A row without them is looser, and what breaks it is cut off.
            used = np.flatnonzero(factors >= _LEAST_FACTOR)
            self._model.addConstraint(
                self._sum(used.tolist(), factors) <= limit.room * self._scales[k], f"limit{k}"
            )

    def relax(self, solver: Any) -> Duals | None:
        """Duals of the linear relaxation, in the problem's own units; None where it has none."""
        self._model.solve(solver)
        if self._model.sol_status != pulp.LpSolutionOptimal:
            return None
        prices = np.zeros(len(self._form.limits))
        for k, scale in self._scales.items():
            prices[k] = max(-self._dual(f"limit{k}"), 0.0) * scale / self._loss_scale
        multipliers = [self._dual(f"link{k}") for k in range(len(self._form.links))]
        return Duals(prices, np.array(multipliers) / self._loss_scale)

    def _dual(self, name: str) -> float:
        row = self._model.get_constraint_by_name(name)
        return 0.0 if row is None else float(row.pi or 0.0)

    def solve(self, solver: Any, *, no_gap: bool) -> Answer | None:
        """Solve the program as it stands; None where the solver finds nothing.

        Of HiGHS the bound is its own; another's value is one where it was told to leave no gap.
        """
        self._model.dual_bound = -math.inf
        self._model.solve(solver)
        if self._model.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
            return None
        values = np.zeros(len(self._kept))
        values[list(self._x)] = [x.value() or 0.0 for x in self._x.values()]
        rows = [block[np.argmax(values[block])] for block in self._blocks[: len(self._form.groups)]]
        claimed = self._model.dual_bound
        if self._model.sol_status == pulp.LpSolutionOptimal and no_gap:
            claimed = pulp.value(self._model.objective)
        slack = _TOLERANCE * len(self._blocks)
        return Answer(np.array(rows), self._least_loss + (claimed - slack) / self._loss_scale)

    def cut_off(self, rows: NDArray[np.int64], broken: Mapping[int, int]) -> None:
        """Rule out an answer, and of others only such as cost no less where it costs too much.

        Blocks of a broken limit that alone use up its room cannot all take a variable of as many
        units: a cover inequality [Balas1975]. Without a broken limit just the answer is ruled out.

        .. [Balas1975] Balas: Facets of the knapsack polytope. Mathematical Programming 8, 1975.
        """
        variables = self._form.variables(rows)
        for k in broken:
            cover = _cover(self._form.limits[k], variables)
            as_dear = [
                v
                for b in cover
                for v in self._blocks[b].tolist()
                if self._form.limits[k].units[v] >= self._form.limits[k].units[variables[b]]
            ]
            self._model.addConstraint(self._sum(as_dear) <= len(cover) - 1)
        if not broken:
            self._model.addConstraint(self._sum(rows.tolist()) <= len(rows) - 1)

    def tighten(self, broken: Mapping[int, int]) -> None:
        """Lower limits by some units; answers that hold may be lost."""
        for k, units in broken.items():
            row = self._model.get_constraint_by_name(f"limit{k}")
            row.changeRHS(-row.constant - units * self._scales[k])


def _cover(limit: Limit, variables: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fewest blocks whose variables together exceed the limit."""
    units = limit.units[variables].astype(object)
    order = np.argsort(-units, kind="stable")
    needed = int(np.searchsorted(np.cumsum(units[order]), limit.room, side="right")) + 1
    return order[:needed]
