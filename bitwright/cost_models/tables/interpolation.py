"""Estimates between measured operations: only on request, and marked.

Rows serve one another only where they differ in size alone: same kind of operation with the same
activation, same kernel and stride, all depthwise or all in one group or all in several, the same
precision, and measured as the same type. So no figure crosses from one compute type into another.
Their costs are fitted as

    log cost = a + b log multiply-adds + c log elements            (least squares, least norm)

with the elements of input, weights and output, and to the fit is added what the nearest rows lie
off it, weighted by their inverse squared distance, so that measured operations keep their figures.
An operation outside the range of the rows, or with fewer than four of them, is refused.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitwright.cost_models.tables.lookup import Rows, bare
from bitwright.problems.exact import exact
from bitwright.problems.operation import ATTENTION, PRODUCT, OperationKey
from bitwright.problems.precision import Precision

LEAST_ROWS = 4
_NEIGHBOURS = 3
_DIGITS = 4


@dataclass(frozen=True)
class Group:
    """Rows that differ in size alone: `keys` (N,), `amounts` (N,) in the unit of the cost.

    `runs_as` is the type that all of them were measured as; empty where the table does not say.
    """

    keys: tuple[OperationKey, ...]
    amounts: tuple[Fraction, ...]
    runs_as: str = ""

    @cached_property
    def _sizes(self) -> NDArray[np.float64]:
        return np.array([_size(key) for key in self.keys])

    @cached_property
    def _logs(self) -> NDArray[np.float64]:
        # Of numerator and denominator: the fraction itself may be too small for a float.
        logs = [math.log(a.numerator) - math.log(a.denominator) for a in self.amounts]
        return np.array(logs)

    def covers(self, key: OperationKey) -> bool:
        """Whether a size lies within the rows', in multiply-adds as in elements."""
        return len(self.keys) >= LEAST_ROWS and _within(self._sizes, np.array(_size(key)))

    def estimate(self, key: OperationKey) -> Fraction:
        """The cost of an operation that the group covers, in four significant digits."""
        value = math.exp(_predicted(self._sizes, self._logs, np.array(_size(key))))
        return exact(float(f"{value:.{_DIGITS}g}"))

    @cached_property
    def error(self) -> float | None:
        """Mean relative error of each row estimated from the others, of those that they cover.

        None where they cover none.
        """
        errors = []
        for i in range(len(self.keys)):
            others = np.arange(len(self.keys)) != i
            sizes, logs = self._sizes[others], self._logs[others]
            if len(logs) >= LEAST_ROWS and _within(sizes, self._sizes[i]):
                errors.append(
                    abs(math.expm1(_predicted(sizes, logs, self._sizes[i]) - self._logs[i]))
                )
        return sum(errors) / len(errors) if errors else None

    def range_text(self) -> str:
        """The multiply-adds and elements that the rows span, for people."""
        if not self.keys:
            return "none"
        low, high = np.exp(self._sizes.min(axis=0)), np.exp(self._sizes.max(axis=0))
        spans = [f"{a:.3g} to {b:.3g} {what}" for a, b, what in zip(low, high, _AXES, strict=True)]
        return f"{len(self.keys)} from {' and '.join(spans)}"


_AXES = ("multiply-adds", "elements")


def group_of(
    rows: Rows, key: OperationKey, precision: Precision, cost: str, runs_as: str = ""
) -> Group:
    """The rows that an operation may be estimated from, all measured as one type.

    Where rows of the precision ran as several types, those of `runs_as` count, else the most frequent.
    A cost of 0 has no logarithm and is no such row.
    """
    like = likeness(key)
    found = {
        other: of[precision]
        for other, of in rows.by_key.items()
        if isinstance(other, OperationKey) and precision in of and likeness(other) == like
    }
    types = Counter(row.runs_as for row in found.values())
    ran_as = runs_as if runs_as in types else max(sorted(types), key=types.__getitem__, default="")
    kept = {
        other: exact(row.costs[cost])
        for other, row in found.items()
        if row.runs_as == ran_as and row.costs[cost]
    }
    return Group(tuple(kept), tuple(kept.values()), ran_as)


def likeness(key: OperationKey) -> tuple[object, ...]:
    """What operations have in common that may be estimated from one another."""
    grouping = "one"
    if bare(key) not in (PRODUCT, ATTENTION) and key.groups > 1:
        grouping = "depthwise" if key.groups == key.in_channels else "several"
    return (key.op, key.kernel_h, key.kernel_w, key.stride, grouping)


def _size(key: OperationKey) -> tuple[float, float]:
    """Logarithms of multiply-adds and of elements, as if padding kept the size of a convolution's input."""
    kind, kernel = bare(key), key.kernel_h * key.kernel_w
    pixels = key.in_h * key.in_w
    if kind == ATTENTION:
        macs = key.groups * pixels * (key.in_channels + key.out_channels)
        elements = key.groups * (key.in_h + key.in_w) * (key.in_channels + key.out_channels)
    elif kind == PRODUCT:
        macs = key.groups * key.in_h * key.in_channels * key.out_channels
        elements = key.groups * (
            key.in_h * (key.in_channels + key.out_channels) + key.in_channels * key.out_channels
        )
    else:
        weights = key.in_channels * key.out_channels // key.groups * kernel
        outputs = -(-key.in_h // key.stride) * -(-key.in_w // key.stride)
        if "Transpose" in kind:
            outputs = pixels * (key.stride if key.in_w == 1 else key.stride**2)
        macs = weights * (pixels if "Transpose" in kind else outputs)
        elements = pixels * key.in_channels + weights + outputs * key.out_channels
    return math.log(max(macs, 1)), math.log(elements)


def _within(sizes: NDArray[np.float64], size: NDArray[np.float64]) -> bool:
    slack = 1e-9
    return bool(
        np.all(sizes.min(axis=0) - slack <= size) and np.all(size <= sizes.max(axis=0) + slack)
    )


def _predicted(
    sizes: NDArray[np.float64], logs: NDArray[np.float64], size: NDArray[np.float64]
) -> float:
    """The fit at a size plus what the nearest rows lie off it, as a logarithm."""
    centre, level = sizes.mean(axis=0), logs.mean()
    slopes = np.linalg.lstsq(sizes - centre, logs - level, rcond=1e-6)[0]
    off = logs - level - (sizes - centre) @ slopes
    distances = np.square(sizes - size).sum(axis=1)
    near = np.argsort(distances, kind="stable")[:_NEIGHBOURS]
    if distances[near[0]] < 1e-18:
        near = np.flatnonzero(distances < 1e-18)
        weights = np.ones(len(near))
    else:
        weights = 1 / distances[near]
    return float(level + (size - centre) @ slopes + np.average(off[near], weights=weights))
