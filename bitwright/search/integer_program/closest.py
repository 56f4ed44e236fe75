"""The configuration that exceeds its budgets least, as far as a quick search finds it.

.. [FS1999] Freund, Schapire: Adaptive game playing using multiplicative weights. Games and
   Economic Behavior 29, 1999.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bitwright.search.integer_program.form import Form
from bitwright.search.integer_program.multipliers import Shares, least_of_blocks, strongest

_ROUNDS = 60
_FEWEST_ROUNDS = 8
_MOST_LOOKED_AT = 10_000_000
_REFINED = 3
_PASSES = 20
_MOST_GROUPS = 5_000
_GAIN = 1e-12


def closest(form: Form) -> NDArray[np.int64] | None:
    """Rows of the groups, (G,), that keep every tie and exceed the budgets little.

    What counts is the largest excess in shares of a budget. Configurations are met by weighing the
    limits [FS1999], and the best of them are improved by one group at a time. Nothing says that none
    comes closer; None where ties of one side kept it from finding any.
    """
    search = _Search(form)
    found: dict[tuple[float, float], NDArray[np.int64]] = {}
    for weights in search.weights():
        rows = agreeing(form, weights @ search.shares.values)
        if rows is not None:
            found.setdefault(search.badness(rows), rows)
    refined = [search.refined(found[bad]) for bad in sorted(found)[:_REFINED]]
    return min(refined, key=search.badness, default=None)


def agreeing(form: Form, value: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Rows of the groups, (G,), of least value that agree where one side is tied.

    One tie is settled after the other; None where those settled first leave a later one no way.
    """
    starts = form.start[: len(form.groups) + 1]
    value = value[: starts[-1]].copy()
    for tie in form.side_ties:
        costs = {
            bits: sum(
                value[starts[g] : starts[g + 1]][own == bits].min(initial=np.inf)
                for g, own in tie.items()
            )
            for bits in np.unique(np.concatenate(list(tie.values()))).tolist()
        }
        chosen = min(costs, key=lambda bits: (costs[bits], bits))
        if costs[chosen] == np.inf:
            return None
        for group, own in tie.items():
            value[starts[group] : starts[group + 1]][own != chosen] = np.inf
    return least_of_blocks(value, starts)


class _Search:
    """Configurations of a form by weights, and what improves them."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self.shares = Shares(form)
        self._ties: dict[int, list[NDArray[np.int64]]] = {}
        for tie in form.side_ties:
            for group, bits in tie.items():
                self._ties.setdefault(group, []).append(bits)
        self._joints: dict[int, list[int]] = {}
        for k, joint in enumerate(form.joints):
            for group in joint.groups:
                self._joints.setdefault(group, []).append(k)

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """Weights of the limits, around the ones under which these contradict each other most."""
        count = len(self.shares.before)
        if count < 2:
            yield np.ones(count)
            return
        yield from np.eye(count)
        weights = strongest(self.shares)
        yield weights
        scale = max(np.abs(self.shares.least(w)).max() for w in np.eye(count)) or 1.0
        rounds = max(_FEWEST_ROUNDS, min(_ROUNDS, _MOST_LOOKED_AT // self.shares.values.size))
        rate = math.sqrt(math.log(count) / rounds) / scale
        for _ in range(rounds):
            weights = weights * np.exp(rate * self.shares.least(weights))
            weights = np.maximum(weights / weights.sum(), _GAIN)
            yield weights

    def badness(self, rows: NDArray[np.int64]) -> tuple[float, float]:
        """The largest excess in shares, and the sum of all that are above 0."""
        excess = self._excess(rows)
        return float(excess.max(initial=-np.inf)), float(np.maximum(excess, 0.0).sum())

    def _excess(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        taken = self.shares.values[:, self._form.variables(rows)]
        excess: NDArray[np.float64] = taken.sum(axis=1) + self.shares.before
        return excess

    def refined(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows after moves of one group at a time for as long as these help."""
        if len(rows) > _MOST_GROUPS or not len(self.shares.before):
            return rows
        rows, excess = rows.copy(), self._excess(rows)
        for _ in range(_PASSES):
            moved = False
            for group in range(len(rows)):
                after = excess[:, None] + self._changes(group, rows)
                worst, sums = after.max(axis=0), np.maximum(after, 0.0).sum(axis=0)
                best = np.lexsort((sums, worst))[0]
                now = rows[group] - self._form.start[group]
                gain = worst[now] - worst[best]
                if gain > _GAIN or (gain >= 0 and sums[now] - sums[best] > _GAIN):
                    rows[group], excess, moved = (
                        self._form.start[group] + best,
                        after[:, best],
                        True,
                    )
            if not moved:
                break
        return rows

    def _changes(self, group: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """What every row of a group would change in the excess; infinite where it breaks a tie."""
        form, values = self._form, self.shares.values
        start, now = form.start[group], rows[group] - form.start[group]
        total = values[:, start : form.start[group + 1]]
        for k in self._joints.get(group, ()):
            joint = form.joints[k]
            side = joint.groups.index(group)
            other = rows[joint.groups[1 - side]] - form.start[joint.groups[1 - side]]
            own = np.arange(joint.shape[side])
            a, b = (own, other) if side == 0 else (other, own)
            total = total + values[:, joint.start + a * joint.shape[1] + b]
        changes: NDArray[np.float64] = total - total[:, [now]]
        for bits in self._ties.get(group, ()):
            changes[:, bits != bits[now]] = np.inf
        return changes
