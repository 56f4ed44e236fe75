"""The rules that every allocation problem keeps, checked once at its birth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sized
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.exact import plain
from bitwright.problems.precision import FLOAT_BITS, Precision

if TYPE_CHECKING:
    from bitwright.problems.problem import AllocationProblem


_LARGEST_TOTAL = 1e300


def check_problem(problem: AllocationProblem) -> None:
    """Raise `InputError` for the first broken rule."""
    _check_shapes(problem)
    _check_numbers(problem)
    _check_totals(problem)
    _check_duplicates(problem)
    _check_channels(problem)
    _check_ties(problem)
    _check_interactions(problem)
    _check_named_costs(problem)


def check_budget(name: str, value: Fraction, costs: Iterable[str]) -> Fraction:
    """Return the budget's value if its cost is known and it is not negative."""
    known = tuple(costs)
    if name not in known:
        raise InputError(f"budget for unknown cost {name!r}; {nearest(name, known)}")
    if value < 0:
        raise InputError(f"budget {name!r} must not be negative, got {plain(value)}")
    return value


def _check_shapes(problem: AllocationProblem) -> None:
    if not isinstance(problem.name, str) or not problem.name:
        raise InputError(f"a problem needs a name, got {problem.name!r}")
    if not problem.layers:
        raise InputError(f"problem {problem.name!r} has no layers")
    for name in problem.layers:
        if not isinstance(name, str) or not name:
            raise InputError(f"a layer name must be a non-empty string, got {name!r}")
    if len(set(problem.layers)) != len(problem.layers):
        twice = Counter(problem.layers).most_common(1)[0][0]
        raise InputError(f"layer {twice!r} is given twice")
    start, m = problem.choice_start, len(problem.loss)
    if start.shape != (len(problem.layers) + 1,) or start[0] != 0 or start[-1] != m:
        raise InputError(
            f"choice_start must have length layers + 1 = {len(problem.layers) + 1} and run from 0 to "
            f"the {m} choices, got length {start.size}"
        )
    empty = np.flatnonzero(np.diff(start) <= 0)
    if len(empty):
        raise InputError(f"layer {problem.layers[empty[0]]!r} has no choices")
    columns: dict[str, Sized] = {
        "weight_bits": problem.weight_bits,
        "activation_bits": problem.activation_bits,
        "variants": problem.variants,
        **{f"cost {n!r}": c for n, c in problem.costs.items()},
    }
    for name, column in columns.items():
        if len(column) != m:
            raise InputError(
                f"{name} must have one value for each of the {m} choices, got {len(column)}"
            )


def _place(problem: AllocationProblem, choice: int) -> str:
    layer = int(np.searchsorted(problem.choice_start, choice, side="right")) - 1
    return f"layer {problem.layers[layer]!r}, choice {problem.precision(choice)}"


def _check_numbers(problem: AllocationProblem) -> None:
    for name in ("weight_bits", "activation_bits"):
        bits = getattr(problem, name)
        bad = np.flatnonzero((bits < 1) | (bits > FLOAT_BITS))
        if len(bad):
            layer = problem.layers[
                int(np.searchsorted(problem.choice_start, bad[0], side="right")) - 1
            ]
            raise InputError(
                f"layer {layer!r}: {name} must be from 1 to {FLOAT_BITS}, got {bits[bad[0]]}"
            )
    for variant in dict.fromkeys(problem.variants):
        Precision(1, 1, variant)  # refuses what is no label
    bad = np.flatnonzero(~np.isfinite(problem.loss))
    if len(bad):
        raise InputError(
            f"{_place(problem, bad[0])}: loss must be finite, got {problem.loss[bad[0]]}"
        )
    for name, column in problem.costs.items():
        bad = np.flatnonzero(column.units < 0)
        if len(bad):
            value = plain(column.value(bad[0]))
            raise InputError(
                f"{_place(problem, bad[0])}: cost {name!r} must not be negative, got {value}"
            )


def _check_totals(problem: AllocationProblem) -> None:
    """Refuse numbers whose totals no float can hold, since losses and costs are reported as such."""
    limit = int(_LARGEST_TOTAL)
    with np.errstate(over="ignore"):
        total = float(np.abs(problem.loss).sum())
    if total > _LARGEST_TOTAL:
        raise InputError(
            f"the losses are too large to be added: in all more than {_LARGEST_TOTAL:g}"
        )
    for name, column in problem.costs.items():
        if column.units.dtype == object and int(column.units.sum()) > limit * 10**column.digits:
            raise InputError(
                f"cost {name!r} is too large to be added: in all more than {_LARGEST_TOTAL:g}"
            )


def _check_duplicates(problem: AllocationProblem) -> None:
    kinds = {v: i for i, v in enumerate(dict.fromkeys(problem.variants))}
    variant = np.array([kinds[v] for v in problem.variants], dtype=np.int64)
    layer = np.repeat(np.arange(len(problem.layers)), np.diff(problem.choice_start))
    width = FLOAT_BITS + 1
    keys = (
        (layer * len(kinds) + variant) * width + problem.weight_bits
    ) * width + problem.activation_bits
    unique, first = np.unique(keys, return_index=True)
    if len(unique) != len(keys):
        again = int(np.setdiff1d(np.arange(len(keys)), first)[0])
        raise InputError(f"{_place(problem, again)} is given twice")


def _check_channels(problem: AllocationProblem) -> None:
    for name, (start, stop) in problem.channels.items():
        _require_layer(problem, name, "a channel range")
        if not 0 <= start < stop:
            raise InputError(
                f"layer {name!r}: channels must be [start, stop] with 0 <= start < stop, "
                f"got [{start}, {stop}]"
            )


def _check_ties(problem: AllocationProblem) -> None:
    for tie in problem.ties:
        shared: set[object] | None = None
        for name in tie.layers:
            _require_layer(problem, name, "tie")
            keys = {tie.key(problem.precision(j)) for j in problem.span(name)}
            shared = keys if shared is None else shared & keys
        if not shared:
            raise InputError(
                f"tied layers {list(tie.layers)} (side {tie.side!r}) have no common choice"
            )


def _check_interactions(problem: AllocationProblem) -> None:
    for term in problem.interactions:
        what = f"interaction of {term.layers[0]!r} and {term.layers[1]!r}"
        for name in term.layers:
            _require_layer(problem, name, "interaction")
        shape = tuple(len(problem.span(name)) for name in term.layers)
        if term.shape != shape:
            raise InputError(
                f"{what} must have one row and column per choice = {shape}, got {term.shape}"
            )
        for name, matrix in term.costs.items():
            if name not in problem.costs:
                raise InputError(f"{what}: unknown cost {name!r}; {nearest(name, problem.costs)}")
            if min(min(row) for row in matrix) < 0:
                raise InputError(f"{what}: cost {name!r} must not be negative")


def _check_named_costs(problem: AllocationProblem) -> None:
    for peak in problem.peaks:
        if peak.cost in problem.costs:
            raise InputError(
                f"peak {peak.cost!r} has the name of a cost that is summed over layers"
            )
        for name in peak.layers:
            _require_layer(problem, name, f"peak {peak.cost!r}")
    for name, value in problem.fixed_costs.items():
        if name not in problem.cost_names:
            raise InputError(
                f"fixed cost for unknown cost {name!r}; {nearest(name, problem.cost_names)}"
            )
        if value < 0:
            raise InputError(f"fixed cost {name!r} must not be negative, got {plain(value)}")
    for name, value in problem.budgets.items():
        check_budget(name, value, problem.cost_names)


def _require_layer(problem: AllocationProblem, name: str, what: str) -> None:
    if name not in problem.index:
        raise InputError(f"{what} names unknown layer {name!r}; {nearest(name, problem.layers)}")
