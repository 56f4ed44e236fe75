"""The general exact search: every answer between the dual bound and an allowance is looked at.

Whatever the rows and links, the bound at the best multipliers is usually so near the optimum that
few deviations from the relaxation's answer have a penalty within the gap. They are listed in two
halves and joined, for a growing allowance, until it covers the best answer found, which is then
proved. Until then the allowance that was searched through raises the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.protocols import SolveSession
from bitwright.search.general.deviations import deviations
from bitwright.search.general.halves import halves
from bitwright.search.general.landscape import Landscape
from bitwright.search.general.meeting import Limits, best_pair

DEFAULT_STATES = 2**20
"""Length of a list of deviations beyond which the search stops proving, unless told otherwise."""

_FIRST_OPEN = 12
_GROWTH = 4.0
_WORTHWHILE = 1000
_PAIRS_PER_STATE = 32
_LEAST_SHARE = 2.0**-30


@dataclass(frozen=True, eq=False)
class Found:
    """The options (V,) of the best answer found, if any, and a bound below every answer's loss.

    `searched` is the allowance that was gone through, `states` how long a list it took.
    """

    options: NDArray[np.int64] | None
    bound: float
    complete: bool
    searched: float
    states: int

    def states_for(self, allowance: float) -> float:
        """About how long a list a larger allowance would take, by the growth of partitions."""
        if self.searched <= 0 or allowance == math.inf:
            return math.inf
        exponent = math.sqrt(allowance / self.searched) * math.log(max(self.states, 2))
        return math.exp(min(exponent, 100.0))


def search_gap(
    landscape: Landscape,
    session: SolveSession,
    states: int,
    known: float = math.inf,
    tolerance: float = 0.0,
) -> Found:
    """Search allowances of growing size; proves the best answer unless a limit is hit.

    Lists hold at most `states` deviations. Only answers of less loss than `known` are of interest:
    without options, a complete search has proved that there is none. With a tolerance the search
    may end when nothing is better than the best answer by more than that.
    """
    search = _Search(landscape, session, states, known)
    return search.run(tolerance)


class _Search:
    def __init__(
        self, landscape: Landscape, session: SolveSession, states: int, known: float
    ) -> None:
        self._land, self._session, self._limit = landscape, session, states
        self._options: NDArray[np.int64] | None = None
        self._above = max(known - landscape.bound, 0.0)

    def run(self, tolerance: float) -> Found:
        """Widen the allowance until it covers the best answer, everything, or the effort."""
        land = self._land
        most = self._largest_allowance()
        searched, states = 0.0, 1
        wanted = min(self._first_allowance(), self._above, most)
        while True:
            complete, size = self._look(wanted)
            if self._above <= land.rounding:  # no float64 bound can tell the two apart
                return Found(self._options, land.bound, True, searched, states)
            if not complete:
                break
            searched, states = wanted, size
            if searched >= min(self._above - tolerance, most):
                return Found(self._options, land.bound + searched, True, searched, states)
            wanted = min(self._above, most, max(wanted, most * _LEAST_SHARE) * _growth(size))
        bound = land.bound + searched - land.rounding
        return Found(self._options, bound, False, searched, states)

    def _look(self, wanted: float) -> tuple[bool, int]:
        """Search an allowance; says whether all of it was searched, and how long the lists were."""
        land = self._land
        allowance = max(wanted + land.rounding, np.finfo(float).tiny)
        divided = halves(land, allowance)
        first = deviations(divided.first, land.room, allowance, self._limit, self._session)
        second = deviations(divided.second, land.room, allowance, self._limit, self._session)
        size = max(len(first.states), len(second.states))
        if not len(first.states) or not len(second.states):
            return first.complete and second.complete, size
        limits = Limits(land.room, land.multipliers, allowance, _PAIRS_PER_STATE * self._limit)
        met = best_pair(first, second, divided.shared, limits, self._session)
        if met.loss is not None:
            options = land.picked.copy()
            for taken in (first.options(met.first), second.options(met.second)):
                for variable, option in taken.items():
                    options[variable] = option
            self._note(options)
        return met.complete and not self._session.out_of_time(), size

    def _note(self, options: NDArray[np.int64]) -> None:
        """Keep an answer if it is better than the best so far."""
        land = self._land
        if self._options is None or land.loss_of(options) < land.loss_of(self._options):
            self._options = options
            self._above = max(land.loss_of(options) * land.loss_unit - land.bound, 0.0)

    def _first_allowance(self) -> float:
        """What opens a handful of variables and all components."""
        nearest = np.sort(
            np.concatenate([self._land.free_nearest, [c.nearest for c in self._land.linked]])
        )
        some = nearest[: _FIRST_OPEN + 1]
        finite = some[np.isfinite(some)]
        return float(finite[-1]) if len(finite) else 0.0

    def _largest_allowance(self) -> float:
        """What every answer within the limits is worth at most, room left unused included."""
        land = self._land
        penalty = np.where(np.isfinite(land.free_penalty), land.free_penalty, 0.0)
        total = float(penalty.max(axis=1, initial=0.0).sum())
        total += float(land.multipliers @ land.oracle.limits)
        for component in land.linked:
            for step in component.steps:
                total += float(step.penalty[np.isfinite(step.penalty)].max(initial=0.0))
        return total


def _growth(size: int) -> float:
    """By what to multiply the allowance for lists a few times as long, or of a size worth the work.

    Lists grow like exp(c sqrt(allowance)), as the number of partitions does.
    """
    size = max(size, 8)
    return max(1.15, (math.log(max(_GROWTH * size, _WORTHWHILE)) / math.log(size)) ** 2)
