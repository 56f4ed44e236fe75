"""Infeasible budgets in plain words: what cannot be reached, by how much, why, and what comes close."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.exact import plain
from bitwright.problems.problem import AllocationProblem
from bitwright.search.integer_program.closest import closest
from bitwright.search.integer_program.form import form_of
from bitwright.search.integer_program.multipliers import Multipliers, Shares, strongest
from bitwright.search.reach import Reaches

_FEW_LAYERS = 6
_FEW_PRECISIONS = 4


def unreachable(
    limits: Mapping[str, Fraction], reaches: Reaches, problem: AllocationProblem
) -> str | None:
    """Name every budget that no configuration meets, even alone; None where there is none.

    The configuration that takes the least is named where it is found.
    """
    lines = []
    for name, limit in limits.items():
        reach = reaches.known(name)
        if reach is None or reach.least <= limit:
            continue
        line = (
            f"budget {name!r} = {_figure(limit)} cannot be met: the least that any configuration "
            f"takes is {_figure(reach.least)}, {_figure(reach.least - limit)} more"
        )
        alone = problem.with_budgets({name: limit})
        selection = _closest_selection(alone)
        if selection is not None and alone.evaluate(selection).costs[name] == reach.least:
            line += f", with {in_short(problem, selection)}"
        lines.append(line)
    return "; ".join(lines) or None


def contradiction(problem: AllocationProblem) -> Multipliers | None:
    """Search for multipliers that prove the budgets contradictory; the proof is checked exactly.

    None says that none were found, not that there are none.
    """
    if not problem.budgets:
        return None
    form = form_of(problem)
    shares = Shares(form)
    for k, limit in enumerate(form.limits):
        if limit.room < 0:
            return shares.proof(np.eye(len(form.limits))[k])
    return shares.proof(strongest(shares))


def worded(problem: AllocationProblem, proof: Multipliers | None, *, proved: bool = True) -> str:
    """Say why no configuration meets the budgets and ties, and what comes closest to the budgets.

    Without multipliers it rests on a search through all configurations; where that did not end,
    `proved` is false and the text claims no more than that none was found.
    """
    if not problem.budgets:
        return (
            "no configuration respects all ties"
            if proved
            else "no configuration was found; that there is none is not proved"
        )
    names = " and ".join(repr(name) for name in problem.budgets)
    if proof is not None:
        why = _multiplied(problem, proof, names)
    elif proved:
        why = (
            f"no configuration meets budgets {names}: parts of layers might, but a search through "
            "all whole ones has proved it"
        )
    else:
        why = f"no configuration that meets budgets {names} was found; that there is none is not proved"
    selection = _closest_selection(problem)
    over = {} if selection is None else problem.evaluate(selection).over_budget(problem.budgets)
    if selection is None or not over:
        return why
    exceeded = " and ".join(_exceeded(problem, name, excess) for name, excess in over.items())
    return f"{why}; the closest found, with {in_short(problem, selection)}, exceeds {exceeded}"


def _multiplied(problem: AllocationProblem, proof: Multipliers, names: str) -> str:
    """The multipliers as a sum that budgets and configurations disagree about."""
    weighed = [
        (weight, limit)
        for weight, limit in zip(proof.weights, form_of(problem).limits, strict=True)
        if weight
    ]
    terms = " + ".join(
        f"{float(weight):g} x {limit.label}" + f" / {_figure(limit.budget)}" * (limit.budget > 0)
        for weight, limit in weighed
    )
    allowed = f"{float(proof.allowed):g}"
    least = f"at least {float(proof.least):.6g}"
    if float(f"{float(proof.least):.6g}") <= float(allowed):
        least = f"above {allowed}, if only just,"
    figures = (
        f"{terms} is {least} for every configuration, and the budgets ask for at most {allowed}"
    )
    costs = list(dict.fromkeys(limit.cost for _, limit in weighed))
    if len(costs) == 1:
        return f"budget {costs[0]!r} cannot be met: {figures}"
    reaches = Reaches(problem)
    alone = [(reaches.known(name), budget) for name, budget in problem.budgets.items()]
    if all(reach is not None and reach.least <= budget for reach, budget in alone):
        return f"budgets {names} can each be met, but not together: {figures}"
    return f"budgets {names} cannot be met together: {figures}"


def _exceeded(problem: AllocationProblem, cost: str, excess: Fraction) -> str:
    """By how much a budget is exceeded, in its unit and as a share of it."""
    budget = problem.budgets[cost]
    share = f" ({100 * float(excess / budget):.3g} %)" if budget else ""
    return f"{cost!r} by {_figure(excess)}{share}"


def in_short(problem: AllocationProblem, selection: NDArray[np.int64]) -> str:
    """A configuration in few words: layer by layer where there are few, else counted."""
    labels = [problem.precision(int(j)).label for j in selection]
    counts = Counter(labels).most_common()
    if len(counts) == 1:
        return (
            f"every layer at {labels[0]}"
            if len(labels) > 1
            else f"{problem.layers[0]} at {labels[0]}"
        )
    if len(labels) <= _FEW_LAYERS:
        return ", ".join(f"{n} at {label}" for n, label in zip(problem.layers, labels, strict=True))
    shown = [f"{label} in {n}" for label, n in counts[:_FEW_PRECISIONS]]
    shown[0] += " layers"
    if rest := sum(n for _, n in counts[_FEW_PRECISIONS:]):
        shown.append(f"other precisions in {rest}")
    return ", ".join(shown)


def _closest_selection(problem: AllocationProblem) -> NDArray[np.int64] | None:
    form = form_of(problem)
    rows = closest(form)
    return None if rows is None else form.groups.selection(rows)


def _figure(value: Fraction) -> str:
    number = plain(value)
    return f"{number:,}" if isinstance(number, int) else f"{number:.6g}"
