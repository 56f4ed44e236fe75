"""Ties of one side, merged exactly: linked groups become one, with a row per combination worth taking.

Layers tied on their activation (or weight) bits may still differ on the other side. The groups that
such ties link are combined one after the other; of the combinations that agree in all that later
groups may ask for, only those stay that no other matches in both cost and loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import InputError, UnsupportedProblemError
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.ties import Tie
from bitwright.search.one_budget.lists import Trail, comparable, undominated
from bitwright.search.reduction import Groups, Integers, connected, summed_losses

MOST_COMBINATIONS = 2_000_000


def merge_sides(
    problem: AllocationProblem, groups: Groups, cost: str | None, exact: bool = False
) -> Groups:
    """Merge the groups that ties of one side link; keeps every best answer for one cost, or none.

    With `cost` the rows are those undominated in that cost and the loss, without it those of least
    loss; with `exact` no rounding decides which these are, at some expense. Raises `UnsupportedProblemError` where there are more than `MOST_COMBINATIONS`.
    """
    ties = [tie for tie in problem.ties if tie.side != "all"]
    if not ties:
        return groups
    links = [sorted({int(groups.group_of_layer[problem.index[n]]) for n in t.layers}) for t in ties]
    if all(len(linked) == 1 for linked in links):
        return groups
    component = connected(len(groups), links)
    sizes = np.bincount(component)
    merged = [
        _combine(problem, groups, np.flatnonzero(component == c), ties, cost, exact)
        for c in np.flatnonzero(sizes > 1)
    ]
    return _rebuilt(problem, groups, component, sizes, merged)


@dataclass(frozen=True, eq=False)
class _Combined:
    """The groups of one component, (K,), and the rows that its combinations take, (S, K)."""

    groups: NDArray[np.int64]
    rows: NDArray[np.int64]
    rounding: float


def _combine(  # noqa: PLR0917
    problem: AllocationProblem,
    groups: Groups,
    members: NDArray[np.int64],
    ties: list[Tie],
    cost: str | None,
    exact: bool,
) -> _Combined:
    """All combinations of the groups' rows that keep the ties, but for the dominated ones."""
    bits = _TiedBits(problem, groups, members, ties)
    known = np.full((1, len(bits.ties)), -1, dtype=np.int8)
    losses, rounding = _comparable(groups, members, exact)
    costs = np.zeros(len(losses), dtype=np.int64) if cost is None else groups.costs[cost]
    loss, spent = np.zeros(1, losses.dtype), np.zeros(1, costs.dtype)
    trail = Trail()
    for place, group in enumerate(members.tolist()):
        offered = np.arange(groups.start[group], groups.start[group + 1])
        if len(loss) * len(offered) > MOST_COMBINATIONS:
            names = _names(problem, groups, members)
            raise UnsupportedProblemError(
                f"the ties of one side among {len(names)} layers ({names[0]!r}, ...) leave more than "
                f"{MOST_COMBINATIONS:,} combinations; solver 'ilp' takes them"
            )
        asked = bits.of_rows(group, offered)
        state, choice = (a.ravel() for a in np.indices((len(loss), len(offered))))
        free = (known[state] < 0) | (asked[choice] < 0)
        agree = (free | (known[state] == asked[choice])).all(axis=1)
        state, choice = state[agree], choice[agree]
        if not len(state):
            raise InputError(
                f"the ties of one side among layers {_names(problem, groups, members)} contradict each "
                "other: no choice of all of them keeps every tie"
            )
        known = np.maximum(known[state], asked[choice])
        known[:, bits.last_place <= place] = -1
        loss = loss[state] + losses[offered[choice]]
        spent = spent[state] + costs[offered[choice]]
        kept = _worth_taking(known, spent, loss)
        known, loss, spent = known[kept], loss[kept], spent[kept]
        trail.append(state[kept], choice[kept])
    rows = groups.start[members] + trail.choices(np.arange(len(loss)))
    return _Combined(members, rows, rounding)


def _comparable(groups: Groups, members: NDArray[np.int64], exact: bool) -> tuple[Integers, float]:
    """Losses of the component's rows as integers, and by how much sums of them are rounded."""
    rows = np.concatenate([np.arange(groups.start[g], groups.start[g + 1]) for g in members])
    start = np.concatenate([[0], np.cumsum(np.diff(groups.start)[members])])
    own, _, rounding = comparable(groups.loss[rows], start, exact)
    losses = np.zeros(len(groups.loss), dtype=own.dtype)
    losses[rows] = own
    return losses, rounding


def _names(problem: AllocationProblem, groups: Groups, members: NDArray[np.int64]) -> list[str]:
    of_layer = zip(problem.layers, groups.group_of_layer.tolist(), strict=True)
    return [name for name, group in of_layer if group in members]


class _TiedBits:
    """What each tie of a component asks of the rows of a group, -1 where it does not bear on it."""

    def __init__(
        self,
        problem: AllocationProblem,
        groups: Groups,
        members: NDArray[np.int64],
        ties: list[Tie],
    ) -> None:
        self._problem, self._rows = problem, groups
        place = {int(g): k for k, g in enumerate(members)}
        self.ties = []
        last = []
        for tie in ties:
            layer_of = {
                int(groups.group_of_layer[problem.index[n]]): problem.index[n] for n in tie.layers
            }
            if layer_of.keys() & place.keys():
                self.ties.append((tie.side, layer_of))
                last.append(max(place[g] for g in layer_of))
        self.last_place = np.array(last)

    def of_rows(self, group: int, rows: NDArray[np.int64]) -> NDArray[np.int8]:
        """Bits that every tie sees in the rows of a group, shape (rows, ties)."""
        asked = np.full((len(rows), len(self.ties)), -1, dtype=np.int8)
        for t, (side, layer_of) in enumerate(self.ties):
            if group in layer_of:
                place = self._rows.place_in_group[layer_of[group]]
                choice = self._rows.members[self._rows.member_start[rows] + place]
                bits = (
                    self._problem.weight_bits if side == "weight" else self._problem.activation_bits
                )
                asked[:, t] = bits[choice]
        return asked


def _worth_taking(known: NDArray[np.int8], spent: Integers, loss: Integers) -> NDArray[np.int64]:
    """Of combinations that are alike to later groups, those undominated in cost and loss."""
    kind = np.unique(known, axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(kind, kind="stable")
    ends = np.cumsum(np.bincount(kind))[:-1]
    alike = np.split(order, ends)
    return np.concatenate([a[undominated(spent[a], loss[a])] for a in alike])


def _rebuilt(
    problem: AllocationProblem,
    groups: Groups,
    component: NDArray[np.int64],
    sizes: NDArray[np.int64],
    merged: list[_Combined],
) -> Groups:
    """The groups that nothing links, as they were, and the merged ones behind them."""
    alone = sizes[component] == 1
    number = np.cumsum(alone) - 1
    for k, combined in enumerate(merged):
        number[combined.groups] = alone.sum() + k
    group_of_layer = number[groups.group_of_layer]
    kept = np.repeat(alone, np.diff(groups.start))
    members = [groups.members[np.repeat(kept, np.diff(groups.member_start))]]
    lengths = [np.diff(groups.member_start)[kept]]
    counts = [np.diff(groups.start)[alone]]
    place = groups.place_in_group.copy()
    for k, combined in enumerate(merged):
        layers = np.flatnonzero(group_of_layer == alone.sum() + k)
        place[layers] = np.arange(len(layers))
        at = np.searchsorted(combined.groups, groups.group_of_layer[layers])
        first = groups.member_start[combined.rows[:, at]]
        members.append(groups.members[first + groups.place_in_group[layers]].ravel())
        lengths.append(np.full(len(combined.rows), len(layers)))
        counts.append(np.array([len(combined.rows)]))
    choices = np.concatenate(members)
    member_start = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    loss, rounding = summed_losses(problem.loss[choices], member_start)
    return Groups(
        start=np.concatenate([[0], np.cumsum(np.concatenate(counts))]),
        loss=loss,
        costs={
            name: np.add.reduceat(column.units[choices], member_start[:-1])
            for name, column in problem.costs.items()
        },
        members=choices,
        member_start=member_start,
        group_of_layer=group_of_layer,
        place_in_group=place,
        rounding=rounding + math.fsum(combined.rounding for combined in merged),
    )
