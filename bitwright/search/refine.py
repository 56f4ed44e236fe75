"""Local refinement: single upgrades while budget is left, then exchanges, until neither gains.

On a measured objective this is the local search from a table's answer that takes the place of the
layer-by-layer reduction in HAQ [Wang2019].

.. [Wang2019] Wang et al.: HAQ: Hardware-aware automated quantization with mixed precision. CVPR
   2019, arXiv:1811.08886.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import InputError
from bitwright.problems.exact import plain
from bitwright.problems.problem import AllocationProblem
from bitwright.search.local.exchanges import chain, exchange, matched, move_coupled
from bitwright.search.local.measurements import Measurements
from bitwright.search.local.move_tables import move_tables
from bitwright.search.local.movers import Movers
from bitwright.search.local.moves import Move, State
from bitwright.search.local.scores import Gain


def refine(
    problem: AllocationProblem,
    selection: NDArray[np.int64],
    *,
    measurements: Measurements | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.int64]:
    """Improve a feasible selection, (N,), until no single move, exchange or short chain gains.

    First come the upgrades of largest gain that fit, then what gains together: an upgrade that does
    not fit and the downgrade of least loss that makes it fit. With `measurements` it is they that
    say what gains, the table only what to try first; none is made of what breaks a budget, and the
    answer is the best that was measured. The answer is feasible and not worse. Raises `InputError`
    for a selection that breaks a budget or a tie.
    """
    _check_feasible(problem, selection)
    tables = move_tables(problem)
    state = State(tables, tables.rows_of(selection))
    if measurements is not None:
        refine_measured(state, measurements, stop)
        return state.selection()
    refine_state(state, stop)
    refined = state.selection()
    # A gain of less than the unit of the state's losses may be none in the total.
    worse = problem.evaluate(refined).loss > problem.evaluate(selection).loss
    return selection if worse else refined


def refine_state(state: State, stop: Callable[[], bool]) -> None:
    """Refine a feasible state in place, by the losses that it has."""
    movers = Movers(state)
    while not stop():
        upgrade(movers, stop)
        if exchange(movers, stop):
            continue
        if chain(movers, stop):
            while chain(movers, stop):
                pass
        elif move_coupled(state):
            movers.reset()
        else:
            return


def refine_measured(state: State, measurements: Measurements, stop: Callable[[], bool]) -> None:
    """Move a feasible state to neighbours of lower measured loss, until there is none."""
    best = measurements.loss(state.selection())
    while best is not None:
        found = None
        for move in _neighbours(Movers(state)):
            if stop() or (loss := measurements.loss(state.after(move))) is None:
                return
            if loss < best:
                state.take(move)
                found = loss
                break
        best = found


def _neighbours(movers: Movers) -> Iterator[Move]:
    """Moves that fit: upgrades by their gain, upgrades with a partner by theirs, then the rest."""
    fit = (movers.units <= -movers.state.excess[:, None]).all(axis=0) & ~movers.closed
    fitting = np.flatnonzero(fit)
    singles = fitting[np.argsort(movers.loss[fitting], kind="stable")]
    gaining = movers.loss[singles] < 0
    yield from map(movers.move, singles[gaining].tolist())
    yield from matched(movers)
    yield from map(movers.move, singles[~gaining].tolist())


def upgrade(movers: Movers, stop: Callable[[], bool]) -> None:
    """Take single moves that gain and fit, largest gains first, while there are any."""
    gain = Gain(movers.state)
    count = len(movers.state.at) if movers.state.tables.separable else 1
    while not stop() and (moves := movers.leading(gain, count)):
        for key, move in moves:
            if movers.score_of(move, gain) <= key:
                movers.take(move)


def _check_feasible(problem: AllocationProblem, selection: NDArray[np.int64]) -> None:
    """Raise `InputError` for a selection that breaks a budget or a tie of the problem."""
    if broken := problem.broken_ties(selection):
        raise InputError(
            f"the selection breaks the tie of {list(broken[0].layers)} (side {broken[0].side!r})"
        )
    for name, excess in problem.evaluate(selection).over_budget(problem.budgets).items():
        raise InputError(
            f"the selection breaks budget {name!r}: it takes {plain(excess):,} more than "
            f"{plain(problem.budgets[name]):,}"
        )
