"""What a cost can come to: its least and largest total over all configurations, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import numpy as np

from bitwright.problems.errors import InputError, UnsupportedProblemError
from bitwright.problems.problem import AllocationProblem
from bitwright.search.links import Links
from bitwright.search.reduction import Groups, connected, merge_ties

_MOST_STATES = 20_000

State = tuple[tuple[tuple[str, int], int], ...]


@dataclass(frozen=True)
class Reach:
    """Least and largest total of one cost, fixed costs included; budgets play no part."""

    least: Fraction
    largest: Fraction

    def at(self, share: Fraction) -> Fraction:
        """The amount a share of the way from the least to the largest."""
        return self.least + share * (self.largest - self.least)

    def __add__(self, other: Reach) -> Reach:
        return Reach(self.least + other.least, self.largest + other.largest)

    def __or__(self, other: Reach) -> Reach:
        return Reach(min(self.least, other.least), max(self.largest, other.largest))


class Reaches:
    """The reach of every cost of a problem, worked out when first asked for.

    Ties of all sides, pairwise terms and peaks are respected. Raises `UnsupportedProblemError`
    where they entangle too many layers, and `InputError` where ties contradict each other.
    """

    def __init__(self, problem: AllocationProblem) -> None:
        self._problem = problem

    def __getitem__(self, cost: str) -> Reach:
        found = self._problem.once(_reach, cost)
        if isinstance(found, str):
            raise UnsupportedProblemError(found)
        return found

    def known(self, cost: str) -> Reach | None:
        """The reach of a cost, or None where it is too entangled to be worked out."""
        found = self._problem.once(_reach, cost)
        return None if isinstance(found, str) else found


def _reach(problem: AllocationProblem, cost: str) -> Reach | str:
    """The reach of a cost, or why it cannot be worked out."""
    work_out = _sum_reach if cost in problem.costs else _peak_reach
    fixed = problem.fixed_costs.get(cost, Fraction(0))
    try:
        return work_out(problem, merge_ties(problem), cost) + Reach(fixed, fixed)
    except UnsupportedProblemError as error:
        return str(error)


def _sum_reach(problem: AllocationProblem, groups: Groups, cost: str) -> Reach:
    links = Links(problem, groups, cost)
    linked = links.groups
    units, starts = groups.costs[cost], groups.start[:-1]
    scale = 10 ** problem.costs[cost].digits
    alone = np.ones(len(groups), dtype=bool)
    alone[list(chain.from_iterable(linked))] = False
    total = Reach(
        Fraction(int(np.minimum.reduceat(units, starts)[alone].sum()), scale),
        Fraction(int(np.maximum.reduceat(units, starts)[alone].sum()), scale),
    )
    if not linked:
        return total
    component = connected(len(groups), linked)
    for number in np.unique(component[~alone]):
        total += _linked_reach(links, np.flatnonzero(component == number).tolist(), cost)
    return total


def _linked_reach(links: Links, members: list[int], cost: str) -> Reach:
    """The reach of linked groups, one group after the other.

    A state is what later groups must know of the earlier ones. There are few where the links form
    chains or trees, as they do in networks; too many are refused.
    """
    last_use = links.last_use(members)
    states: dict[State, Reach] = {(): Reach(Fraction(0), Fraction(0))}
    for place, group in enumerate(members):
        after: dict[State, Reach] = {}
        for state, total in states.items():
            for known, value in links.extensions(dict(state), group):
                kept = tuple((name, v) for name, v in known.items() if last_use[name] > place)
                reach = total + Reach(value, value)
                after[kept] = after[kept] | reach if kept in after else reach
            if len(after) > _MOST_STATES:
                raise UnsupportedProblemError(
                    f"the range of cost {cost!r} cannot be worked out: pairwise terms and ties of "
                    f"one side entangle too many of {len(members)} linked layers"
                )
        if not after:
            raise InputError(
                f"the ties of layers {links.layers_of(members)} contradict each other: "
                "no configuration respects them all"
            )
        states = after
    return states[()]


def _peak_reach(problem: AllocationProblem, groups: Groups, cost: str) -> Reach:
    """A peak grows with every layer's activation bits, so that its ends are all least and all most.

    Ties of the weight bits may keep layers from being there together; then it is refused.
    """
    if any(tie.side == "weight" for tie in problem.ties):
        raise UnsupportedProblemError(
            f"the range of peak cost {cost!r} cannot be worked out beside ties of weight bits"
        )
    ties = [tie for tie in problem.ties if tie.side == "activation"]
    linked = [[int(groups.group_of_layer[problem.index[n]]) for n in tie.layers] for tie in ties]
    component = connected(len(groups), linked)
    bits: dict[int, set[int]] = {}
    for group, number in enumerate(component.tolist()):
        rows = slice(groups.start[group], groups.start[group + 1])
        offered = set(
            problem.activation_bits[groups.members[groups.member_start[:-1][rows]]].tolist()
        )
        bits[number] = bits.get(number, offered) & offered
        if not bits[number]:
            names = [
                n
                for n, g in zip(problem.layers, groups.group_of_layer, strict=True)
                if component[g] == number
            ]
            raise InputError(f"tied layers {names} have no common activation bits")
    of_layer = dict(zip(problem.layers, component[groups.group_of_layer].tolist(), strict=True))
    peaks = [peak for peak in problem.peaks if peak.cost == cost]
    least, largest = (
        max(peak.value({n: choose(bits[of_layer[n]]) for n in peak.layers}) for peak in peaks)
        for choose in (min, max)
    )
    return Reach(least, largest)
