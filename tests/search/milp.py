"""The integer program of a problem in `scipy.optimize.milp`: a truth from elsewhere, within tolerances."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, lil_array

LARGEST_LOSS = 1e4
TOLERANCE = 1e-5
"""What the solver's tolerances may come to in the objective, whose largest term is 1e4."""


@dataclass(frozen=True)
class MilpAnswer:
    """A selection, or None, and a bound below the least loss, its tolerance taken off."""

    selection: np.ndarray | None
    bound: float


def milp_answer(problem, seconds=30.0):
    """Solve with HiGHS to no gap; the selection may break a budget by rounding."""
    program = _Program(problem)
    constraints = program.constraints()
    scale = LARGEST_LOSS / (np.abs(program.objective).max() or 1.0)
    result = milp(
        program.objective * scale,
        constraints=constraints,
        integrality=program.integrality,
        bounds=Bounds(0, program.highest),
        options={"mip_rel_gap": 0.0, "time_limit": seconds},
    )
    bound = -np.inf if result.mip_dual_bound is None else result.mip_dual_bound
    selection = None if result.x is None else program.selection(result.x)
    return MilpAnswer(selection, (bound - TOLERANCE) / scale)


class _Program:
    """Variables: one per choice, then one per pair of choices of every interaction."""

    def __init__(self, problem):
        self.problem = problem
        pairs = [len(problem.span(t.layers[0])) * len(problem.span(t.layers[1]))
                 for t in problem.interactions]  # fmt: skip
        self.first = len(problem.loss) + np.cumsum([0, *pairs])
        self.size = int(self.first[-1])
        losses = [np.array(term.loss).ravel() for term in problem.interactions]
        self.objective = np.concatenate([problem.loss, *losses])
        self.integrality = (np.arange(self.size) < len(problem.loss)).astype(int)
        self.highest = np.ones(self.size)
        self._rows, self._low, self._high = [], [], []

    def selection(self, x):
        spans = [self.problem.span(i) for i in range(len(self.problem))]
        return np.array([s.start + int(np.argmax(x[s.start : s.stop])) for s in spans])

    def constraints(self):
        for i in range(len(self.problem)):
            self._add(dict.fromkeys(self.problem.span(i), 1.0), 1, 1)
        for k, term in enumerate(self.problem.interactions):
            self._link(term, int(self.first[k]))
        for tie in self.problem.ties:
            self._tie(tie)
        for name, budget in self.problem.budgets.items():
            self._budget(name, float(budget - self.problem.fixed_costs.get(name, 0)))
        matrix = lil_array((len(self._rows), self.size))
        for r, row in enumerate(self._rows):
            matrix[r, list(row)] = list(row.values())
        return LinearConstraint(csr_array(matrix), self._low, self._high)

    def _add(self, row, low, high):
        self._rows.append(row)
        self._low.append(low)
        self._high.append(high)

    def _link(self, term, first):
        """The pairs that take a choice add up to that choice's variable, on both sides."""
        a, b = (self.problem.span(name) for name in term.layers)
        pair = np.arange(first, first + len(a) * len(b)).reshape(len(a), len(b))
        for side, lines in ((a, pair), (b, pair.T)):
            for j, line in zip(side, lines, strict=True):
                self._add({**dict.fromkeys(line.tolist(), 1.0), j: -1.0}, 0, 0)

    def _tie(self, tie):
        precision = self.problem.precision
        for a, b in pairwise(tie.layers):
            spans = self.problem.span(a), self.problem.span(b)
            for key in {tie.key(precision(j)) for span in spans for j in span}:
                row = {j: 1.0 for j in spans[0] if tie.key(precision(j)) == key}
                row |= {j: -1.0 for j in spans[1] if tie.key(precision(j)) == key}
                self._add(row, 0, 0)

    def _budget(self, name, limit):
        """One row in thousandths of the budget, or one for each step of a peak."""
        unit = limit / 1e3 or 1.0
        if name in self.problem.costs:
            row = dict(enumerate(self.problem.costs[name].floats() / unit))
            for k, term in enumerate(self.problem.interactions):
                for p, v in enumerate(np.array(term.costs.get(name, [])).astype(float).ravel()):
                    row[int(self.first[k]) + p] = v / unit
            self._limit(row, limit / unit)
        for peak in self.problem.peaks:
            for step in peak.steps if peak.cost == name else ():
                row = {
                    j: float(number) * self.problem.activation_bits[j] / unit
                    for layer, number in step.items()
                    for j in self.problem.span(layer)
                }
                self._limit(row, limit / unit)

    def _limit(self, row, limit):
        """A row with a limit; what breaks it alone is struck out, for it may be huge."""
        alone = [j for j, coefficient in row.items() if coefficient > limit * (1 + 1e-9)]
        self.highest[alone] = 0
        self._add({j: c for j, c in row.items() if j not in alone}, -np.inf, limit)
