"""An allocation problem as variables, linear rows and links: the form that the general search takes.

Layers tied on all sides are one variable. A tie of one side becomes a variable of its own, a *hub*,
whose options are the widths that its layers may share; each of its layers is linked to it by a table
that forbids every other width. Pairwise terms are links with a loss, and with units in the rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import InputError
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.ties import Tie
from bitwright.search.general.model import Link, Model
from bitwright.search.general.model_reduction import reduced
from bitwright.search.reduction import Groups, Integers, merge_ties
from bitwright.search.rows import Row, budget_rows


def model_of(problem: AllocationProblem) -> Model:
    """Write a problem as a reduced model.

    Raises `InputError` where ties leave layers no choice in common. A negative limit, or a variable
    without an option, says that no configuration meets the budgets.
    """
    return reduced(whole_model(problem))


def whole_model(problem: AllocationProblem) -> Model:
    """Write a problem as a model with all its options and rows, in the units of `budget_rows`."""
    groups = merge_ties(problem)
    rows = budget_rows(problem)
    units = [np.add.reduceat(r.units[groups.members], groups.member_start[:-1]) for r in rows]
    hubs = _hubs(problem, groups)
    pairs = [*_pair_links(problem, groups, rows), *_hub_links(problem, groups, hubs)]
    loss, units = _with_inner(groups, units, [p for p in pairs if p.first == p.second])
    widths = [len(values) for _, values in hubs]
    start = np.concatenate([groups.start, groups.start[-1] + np.cumsum(widths, dtype=np.int64)])
    extra = int(sum(widths))
    return Model(
        groups=groups,
        start=start,
        loss=np.concatenate([loss, np.zeros(extra)]),
        units=_stacked(units, len(loss), extra),
        limits=np.array([r.limit for r in rows], dtype=object),
        row=np.concatenate([np.arange(len(loss)), np.full(extra, -1)]),
        links=_added_up([link for link in pairs if link.first != link.second]),
    )


def _with_inner(
    groups: Groups, units: list[Integers], links: list[Link]
) -> tuple[NDArray[np.float64], list[Integers]]:
    """Losses and units of the groups' rows with the terms between layers of one group."""
    loss = groups.loss.copy()
    for link in links:
        own = slice(groups.start[link.first], groups.start[link.first + 1])
        loss[own] += np.diagonal(link.loss)
        if link.units is not None:
            for k, table in enumerate(link.units):
                units[k] = units[k].astype(object)
                units[k][own] += np.diagonal(table)
    return loss, units


def _stacked(units: list[Integers], options: int, extra: int) -> Integers:
    """Rows as one array (R, M), with nothing to pay for the options of hubs."""
    kind = object if any(row.dtype == object for row in units) else np.int64
    table = np.zeros((len(units), options + extra), dtype=kind)
    for k, row in enumerate(units):
        table[k, :options] = row
    return table


def _hubs(problem: AllocationProblem, groups: Groups) -> list[tuple[Tie, list[int]]]:
    """The ties of one side that link different groups, and the widths that their layers share."""
    hubs = []
    for tie in problem.ties:
        members = {int(groups.group_of_layer[problem.index[n]]) for n in tie.layers}
        if tie.side == "all" or (len(members) == 1 and _agrees(problem, groups, tie)):
            continue
        offered = [{b for b, _ in _widths(problem, groups, tie, name)} for name in tie.layers]
        shared = sorted(set.intersection(*offered))
        if not shared:
            raise InputError(
                f"tied layers {list(tie.layers)} have no common {tie.side} bits: "
                "no configuration respects them all"
            )
        hubs.append((tie, shared))
    return hubs


def _agrees(problem: AllocationProblem, groups: Groups, tie: Tie) -> bool:
    """Whether every row of the only group of a tie gives its layers the same width anyway."""
    first, *others = ([b for b, _ in _widths(problem, groups, tie, n)] for n in tie.layers)
    return all(other == first for other in others)


def _widths(
    problem: AllocationProblem, groups: Groups, tie: Tie, layer: str
) -> list[tuple[int, int]]:
    """Width on the tie's side, and position, of every row of the layer's group."""
    i = problem.index[layer]
    g = int(groups.group_of_layer[i])
    rows = np.arange(groups.start[g], groups.start[g + 1])
    choices = groups.members[groups.member_start[rows] + groups.place_in_group[i]]
    bits = problem.weight_bits if tie.side == "weight" else problem.activation_bits
    return [(int(b), k) for k, b in enumerate(bits[choices])]


def _hub_links(
    problem: AllocationProblem, groups: Groups, hubs: list[tuple[Tie, list[int]]]
) -> Iterable[Link]:
    for h, (tie, shared) in enumerate(hubs):
        hub = len(groups) + h
        for name in tie.layers:
            g = int(groups.group_of_layer[problem.index[name]])
            table = np.full((int(np.diff(groups.start)[g]), len(shared)), np.inf)
            for width, position in _widths(problem, groups, tie, name):
                if width in shared:
                    table[position, shared.index(width)] = 0.0
            yield Link(g, hub, table)


def _pair_links(problem: AllocationProblem, groups: Groups, rows: list[Row]) -> Iterable[Link]:
    """Pairwise terms between the rows of groups; a term inside one group links it to itself."""
    for t, term in enumerate(problem.interactions):
        (first, a), (second, b) = (_positions(problem, groups, name) for name in term.layers)
        grid = np.ix_(a, b)
        loss = np.array(term.loss, dtype=np.float64)[grid]
        units = None
        if any(t in row.pairs for row in rows):
            none = np.zeros(loss.shape, dtype=object)
            units = np.array([r.pairs[t][grid] if t in r.pairs else none for r in rows])
        if first > second:
            loss, units = loss.T, None if units is None else units.transpose(0, 2, 1)
        yield Link(min(first, second), max(first, second), loss, units)


def _positions(
    problem: AllocationProblem, groups: Groups, layer: str
) -> tuple[int, NDArray[np.int64]]:
    """The group of a layer, and which of its choices the layer takes in every row of it."""
    i = problem.index[layer]
    g = int(groups.group_of_layer[i])
    rows = np.arange(groups.start[g], groups.start[g + 1])
    choices = groups.members[groups.member_start[rows] + groups.place_in_group[i]]
    return g, choices - problem.choice_start[i]


def _added_up(links: list[Link]) -> tuple[Link, ...]:
    """One link per pair of variables."""
    found: dict[tuple[int, int], Link] = {}
    for link in links:
        ends = (link.first, link.second)
        if (old := found.get(ends)) is None:
            found[ends] = link
            continue
        units = link.units if old.units is None else old.units
        if old.units is not None and link.units is not None:
            units = old.units + link.units
        found[ends] = Link(*ends, old.loss + link.loss, units)
    return tuple(found[ends] for ends in sorted(found))
