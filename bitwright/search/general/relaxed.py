"""From a problem to its relaxation, and from the relaxation to a good answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import SolveSession
from bitwright.search.general.lagrangian_oracle import ModelOracle
from bitwright.search.general.landscape import Landscape
from bitwright.search.general.model import Model
from bitwright.search.general.modelling import model_of
from bitwright.search.general.multipliers import Multipliers, best_multipliers
from bitwright.search.local.downgrade import downgrade, repair
from bitwright.search.local.move_tables import move_tables
from bitwright.search.local.moves import State

_WIDER = 2.0**-36
"""By what share limits are widened where rounding leaves open whether mixtures can keep them."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A problem's model, its best multipliers, and the landscape at these."""

    model: Model
    multipliers: Multipliers
    landscape: Landscape


def relaxed(problem: AllocationProblem) -> Relaxed | None:
    """Find the best multipliers; None where it is proved that no configuration meets the budgets.

    Raises `InputError` where ties contradict each other, and `UnsupportedProblemError` where
    pairwise terms are too dense.
    """
    model = model_of(problem)
    if not model.counts.all() or (model.limits < 0).any():
        return None
    oracle = ModelOracle(model)
    if not oracle.possible:
        return None
    multipliers = best_multipliers(oracle, oracle.limits)
    if not multipliers.reachable:
        if oracle.proves_unreachable(multipliers):
            return None
        multipliers = best_multipliers(oracle, oracle.limits * (1.0 + _WIDER))
    return Relaxed(model, multipliers, Landscape(oracle, multipliers))


def rounded(
    problem: AllocationProblem, selection: NDArray[np.int64], session: SolveSession
) -> State | None:
    """A selection made to keep the budgets by the cheapest moves; None if that fails."""
    tables = move_tables(problem)
    state = State(tables, tables.rows_of(selection))
    stop = session.out_of_time
    return state if downgrade(state, stop) or repair(state, stop) else None
