"""Branch and bound above the search of the gap, with multipliers found anew in every branch.

Where a few variables weigh heavily, or there are many rows, the duality gap is wide and what lies
within it too much to list. A branch fixes part of one variable that the relaxation's mixture splits;
its own multipliers bring its bound nearer to its best answer, until the gap can be listed.
"""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import SolveSession
from bitwright.search.general.gap_search import Found, search_gap
from bitwright.search.general.lagrangian_oracle import ModelOracle
from bitwright.search.general.landscape import Landscape
from bitwright.search.general.model import Model
from bitwright.search.general.model_reduction import kept_options, reduced
from bitwright.search.general.multipliers import Multipliers, best_multipliers
from bitwright.search.one_budget.relaxation import ROUNDING

DEFAULT_BRANCHES = 1_000
"""Branches that are searched before an answer is given with the gap that it has."""

_STATES = 2**11


@dataclass(frozen=True, eq=False)
class Best:
    """The best selection so far, its loss, and a bound below the loss of every answer."""

    selection: NDArray[np.int64] | None
    loss: float
    bound: float
    complete: bool


def search_branches(
    problem: AllocationProblem, model: Model, best: Best, session: SolveSession
) -> Best:
    """Take up the branch of least bound until none may hold a better answer, or the effort ends."""
    order = itertools.count()
    heap = [(best.bound, next(order), model)]
    sizes = np.maximum.reduceat(np.abs(model.loss), model.start[:-1])
    rounding = ROUNDING * math.fsum(sizes)
    for _ in range(DEFAULT_BRANCHES):
        if not heap or heap[0][0] >= best.loss - rounding:
            return replace(best, bound=best.loss, complete=True)
        if session.out_of_time():
            break
        bound, _, branch = heapq.heappop(heap)
        best, children = _explored(problem, branch, best, session)
        for child_bound, child in children:
            heapq.heappush(heap, (max(bound, child_bound), next(order), child))
    bound = min([entry[0] for entry in heap], default=best.loss)
    return replace(best, bound=min(bound, best.loss), complete=not heap)


def _explored(
    problem: AllocationProblem, branch: Model, best: Best, session: SolveSession
) -> tuple[Best, list[tuple[float, Model]]]:
    """Search a branch; returns the best answer so far and what of the branch is left to search."""
    oracle = ModelOracle(branch)
    multipliers = best_multipliers(oracle, oracle.limits)
    if not multipliers.reachable:
        if oracle.proves_unreachable(multipliers):
            return best, []
        multipliers = Multipliers(np.zeros(len(branch.limits)), -math.inf, multipliers.columns)
    landscape = Landscape(oracle, multipliers)
    if landscape.bound - landscape.rounding >= best.loss:
        return best, []
    found = search_gap(landscape, session, _STATES, best.loss)
    best = better(problem, branch, found, best)
    if found.complete:
        return best, []
    return best, [(found.bound, child) for child in _children(landscape, multipliers, best.loss)]


def better(problem: AllocationProblem, model: Model, found: Found, best: Best) -> Best:
    """The better of what was found in a model and the best answer so far."""
    if found.options is None:
        return best
    return improved(problem, best, model.selection(found.options))


def improved(problem: AllocationProblem, best: Best, selection: NDArray[np.int64]) -> Best:
    """The better of a selection and the best so far."""
    loss = problem.evaluate(selection).loss
    return replace(best, selection=selection, loss=loss) if loss < best.loss else best


def _children(landscape: Landscape, multipliers: Multipliers, known: float) -> list[Model]:
    """The branch divided by the options of the variable that the mixture splits most widely."""
    model = landscape.model
    open_ = landscape.open_options(known - landscape.bound + landscape.rounding)
    counts = np.add.reduceat(open_.astype(np.int64), model.start[:-1])
    taken = np.array([column.options for column in multipliers.columns] or [landscape.picked])
    worth = landscape.multipliers @ model.units.astype(np.float64) + model.loss
    apart = np.ptp(worth[taken], axis=0)
    divisible = np.flatnonzero(counts > 1)
    if not len(divisible):
        return []
    chosen = int(divisible[np.lexsort((divisible, -counts[divisible], -apart[divisible]))[0]])
    own = np.arange(model.start[chosen], model.start[chosen + 1])
    own = own[open_[own]]
    first = [j for j in dict.fromkeys(taken[:, chosen].tolist()) if j in own][:2] or [int(own[0])]
    rest = [j for j in own.tolist() if j not in first]
    children = []
    for options in ([j] for j in first):
        children.append(_with_only(model, open_, chosen, options))
    if rest:
        children.append(_with_only(model, open_, chosen, rest))
    return [child for child in children if child.counts.all() and not (child.limits < 0).any()]


def _with_only(model: Model, open_: NDArray[np.bool_], variable: int, options: list[int]) -> Model:
    kept = open_.copy()
    kept[model.start[variable] : model.start[variable + 1]] = False
    kept[options] = True
    return reduced(kept_options(model, kept))
