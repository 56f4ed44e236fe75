"""What leads a downgrade beyond the table: losses that change with every step, and measurements.

.. [Yang2021] Yang et al.: Mixed-precision quantization with dynamical Hessian matrix for object
   detection network. VCIP 2021 (DHMQ): the layer of least sensitivity is downgraded, and the
   Hessian updated, until the network is small enough.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import InputError
from bitwright.search.local.downgrade import Pick
from bitwright.search.local.measurements import Measurements
from bitwright.search.local.movers import Movers
from bitwright.search.local.moves import Move
from bitwright.search.local.scores import Relief


@runtime_checkable
class ChangingLoss(Protocol):
    """Losses of single choices that depend on what has been chosen.

    Such are those of a dynamic Hessian, which is updated after every downgrade [Yang2021].
    """

    def losses(self, selection: NDArray[np.int64]) -> NDArray[np.float64]:
        """Loss of every choice, (M,), lower is better, where the network stands at a selection, (N,)."""


def changing(loss: ChangingLoss, then: Pick = Movers.best) -> Pick:
    """Ask for the losses anew before every move. Pairwise terms of the problem are still added."""

    def pick(movers: Movers, relief: Relief) -> Move | None:
        state = movers.state
        losses = np.asarray(loss.losses(state.selection()), dtype=np.float64)
        expected = state.tables.problem.loss.shape
        if losses.shape != expected or not np.isfinite(losses).all():
            raise InputError(
                f"a changing loss must give one finite number per choice, shape {expected}, got "
                f"shape {losses.shape} with {np.count_nonzero(~np.isfinite(losses))} not finite"
            )
        state.price_by(losses)
        movers.reset()
        return then(movers, relief)

    return pick


def measured(measurements: Measurements, candidates: int) -> Pick:
    """Measure the best moves by the table, and take that of least measured loss per relief.

    Once the measurements are used up, the table decides.
    """

    def pick(movers: Movers, relief: Relief) -> Move | None:
        state = movers.state
        moves = [move for _, move in movers.leading(relief, candidates)]
        if len(moves) < 2:
            return moves[0] if moves else None
        selections = [state.selection(), *(state.after(move) for move in moves)]
        losses = [loss for s in selections if (loss := measurements.loss(s)) is not None]
        if len(losses) < len(selections):
            return moves[0]
        added = np.array(losses[1:]) - (losses[0] if losses[0] < math.inf else 0.0)
        relieved = relief.of(np.stack([state.probe(move)[1] for move in moves], axis=1))
        return moves[int(np.argmin(np.where(added > 0, added / relieved, added)))]

    return pick
