"""A solution as text: its layers, its budgets and its certificate."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.exact import plain
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.solution import Solution, Status
from bitwright.text import duration, figure, share, terminal_width, text_table, wrapped

_MOST_LAYERS = 60
_FIRST, _LAST = 20, 10
_MOST_PRECISIONS = 20


def solution_text(
    problem: AllocationProblem, solution: Solution, *, every_layer: bool = False
) -> str:
    """The answer as tables: layers with bits, loss and costs; budgets; the certificate.

    Of more than 60 layers the first and last are shown, unless `every_layer` is asked for, and all
    of them are added up by precision.
    """
    parts = []
    if solution.configuration is not None:
        layers = _Layers(problem, solution.configuration, solution.runs_as)
        parts.append(layers.table(solution, every_layer))
        if len(problem) > _MOST_LAYERS:
            parts.append(layers.by_precision())
    if solution.budgets and solution.costs:
        parts.append(budget_table(solution))
    parts.append(certificate(solution))
    return "\n\n".join(parts)


class _Layers:
    """The layers of a problem under a configuration, as rows of a table."""

    def __init__(
        self,
        problem: AllocationProblem,
        configuration: BitConfiguration,
        runs_as: Mapping[str, str],
    ) -> None:
        self._problem, self._configuration, self._runs_as = problem, configuration, runs_as
        self._selection = problem.selection(configuration)

    def table(self, solution: Solution, every_layer: bool) -> str:
        """One row per layer, then what belongs to no single layer, then the totals."""
        problem, count = self._problem, len(self._problem)
        if every_layer or count <= _MOST_LAYERS:
            rows = self._rows(range(count))
        else:
            hidden = f"... {count - _FIRST - _LAST:,} more (--all shows them)"
            rows = [
                *self._rows(range(_FIRST)),
                [hidden, *[""] * (2 + bool(self._runs_as) + len(problem.cost_names))],
                *self._rows(range(count - _LAST, count)),
            ]
        blank = [""] * (1 + bool(self._runs_as))
        if any(problem.fixed_costs.values()):
            rows.append(["fixed costs", *blank, "", *self._cells(problem.fixed_costs)])
        if problem.interactions:
            loss, costs = self._pairwise()
            rows.append(["pairwise terms", *blank, figure(loss), *self._cells(costs)])
        totals = (figure(solution.costs[n]) for n in problem.cost_names)
        rows.append(["total", *blank, figure(solution.loss), *totals])
        device = ["runs as"] if self._runs_as else []
        head = ["layer", "bits", *device, "loss", *problem.cost_names]
        return text_table(head, rows, terminal_width())

    def by_precision(self) -> str:
        """How many layers take each precision, and what they add up to; rare ones together."""
        problem, precisions = self._problem, list(self._configuration.values())
        counts = Counter(precisions)
        common = {p for p, _ in counts.most_common(_MOST_PRECISIONS)}
        if len(counts) == _MOST_PRECISIONS + 1:
            common = set(counts)  # a row for the last one is no longer than one for the others
        ranks = {p: rank for rank, p in enumerate(sorted(common))}
        of_layer = np.array([ranks.get(p, len(ranks)) for p in precisions])
        labels = [p.label for p in sorted(common)]
        if len(common) < len(counts):
            labels.append(f"{len(counts) - len(common)} others")
        rows = []
        for rank, label in enumerate(labels):
            chosen = self._selection[of_layer == rank]
            costs = {name: column.total(chosen) for name, column in problem.costs.items()}
            loss = math.fsum(problem.loss[chosen])
            layers = [f"{len(chosen):,}", share(len(chosen), len(problem))]
            rows.append([label, *layers, figure(loss), *self._cells(costs)])
        return text_table(["bits", "layers", "share", "loss", *problem.cost_names], rows)

    def _rows(self, layers: Iterable[int]) -> list[list[str]]:
        problem, rows = self._problem, []
        for i in layers:
            j = int(self._selection[i])
            costs = {name: column.value(j) for name, column in problem.costs.items()}
            label, loss = problem.precision(j).label, float(problem.loss[j])
            name = problem.layers[i]
            device = [self._runs_as.get(name, "")] if self._runs_as else []
            rows.append([name, label, *device, figure(loss), *self._cells(costs)])
        return rows

    def _cells(self, costs: Mapping[str, Fraction]) -> list[str]:
        """One cell per cost; a peak is a cost of no single layer."""
        return [figure(plain(costs[n])) if n in costs else "" for n in self._problem.cost_names]

    def _pairwise(self) -> tuple[float, dict[str, Fraction]]:
        """What the pairwise terms add to the loss and to the costs."""
        problem = self._problem
        chosen: NDArray[np.int64] = self._selection - problem.choice_start[:-1]
        losses: list[float] = []
        costs: dict[str, Fraction] = {}
        for term in problem.interactions:
            a, b = (int(chosen[problem.index[name]]) for name in term.layers)
            losses.append(term.loss[a][b])
            for name, matrix in term.costs.items():
                costs[name] = costs.get(name, Fraction(0)) + matrix[a][b]
        return math.fsum(losses), costs


def budget_table(solution: Solution) -> str:
    """Every budget with its limit, what is used and what is left of it."""
    rows = []
    for name, limit in solution.budgets.items():
        used, left = solution.costs[name], solution.slack[name]
        rows.append([name, figure(limit), figure(used), figure(left), share(used, limit)])
    return text_table(["budget", "limit", "used", "left", "of limit"], rows, terminal_width())


def certificate(solution: Solution) -> str:
    """What is proved about the answer, in words and figures."""
    lines = [wrapped(f"{solution.status}: {_in_words(solution)}")]
    if solution.explanation:
        # The reasons of several budgets are one sentence each.
        lines += [wrapped(reason, "  ") for reason in solution.explanation.split("; ")]
    pairs = []
    if solution.configuration is not None:
        pairs.append(("loss", figure(solution.loss)))
    if math.isfinite(solution.lower_bound):
        pairs.append(("lower bound", figure(solution.lower_bound)))
    if math.isfinite(solution.gap):
        relative = f" ({relative_text(solution.relative_gap)})" if solution.gap else ""
        pairs.append(("gap", f"{figure(solution.gap)}{relative}"))
    if solution.device:
        pairs.append(("device", solution.device))
    pairs.append(("solver", f"{solution.solver}, {duration(solution.seconds)}"))
    return "\n".join([*lines, *(f"  {name:13}{value}" for name, value in pairs)])


def relative_text(share_of_loss: float) -> str:
    """A relative gap in percent, in two digits however small."""
    percent = 100 * share_of_loss
    return f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


def _in_words(solution: Solution) -> str:
    within = " within the budgets" if solution.budgets else ""
    if solution.status is Status.OPTIMAL:
        return f"proved; no configuration{within} has a lower loss"
    if solution.status is Status.FEASIBLE:
        if not math.isfinite(solution.lower_bound):
            return f"not proved optimal; how low the loss can be{within} is not known"
        return f"not proved optimal; no configuration{within} has a loss below the lower bound"
    if solution.status is Status.INFEASIBLE:
        return "proved; no configuration meets every budget"
    return "no feasible configuration was found; that there is none is not proved"
