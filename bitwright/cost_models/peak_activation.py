"""The most memory that activations take at once, in the order in which the model itself runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from bitwright.problems import InputError, NetworkDescription, Peak
from bitwright.problems.costing import Candidates
from bitwright.problems.network import ActivationTensor

MOST_ROWS = 64
"""Rows of one step, at most; beyond, tensors are taken together until there are fewer."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """Elements stored at the largest activation bits of any of these groups of layers."""

    elements: int
    groups: frozenset[int]


class PeakActivation:
    """Bytes of the largest set of tensors that are alive at once; packed, batch included.

    A tensor is stored at the activation bits of the layers that read it, or something computed from
    it with no layer in between; one that only the outputs of the network are made of at those of
    the layers that make it, for integer kernels put out the type in which they compute. Of several
    layers the largest bits count. A tensor that no layer makes or reads has no bits and is left out.

    A step of the run becomes one row per combination of layers that may decide; rows that another
    is never below are dropped. Where a step would have more than `MOST_ROWS`, tensors of it are
    stored at the largest bits of all their readers together: an upper bound, which the notes say.
    """

    name = "peak_activation_bytes"

    def __init__(self) -> None:
        self._bounded = (0, 0)

    def peaks(self, network: NetworkDescription, candidates: Candidates) -> Sequence[Peak]:
        """The steps of the network; raises `InputError` where its tensors were not recorded."""
        tensors = [tensor for tensor in network.tensors if tensor.makers or tensor.readers]
        if not tensors:
            raise InputError(
                f"cost {self.name!r}: the description of network {network.name!r} says nothing of "
                "its tensors; read the model again"
            )
        groups = _Groups(network, candidates)
        steps = _steps(tensors, groups)
        # Steps that are below another in any case need not be spelled out: there may be thousands.
        bar = max(_value(step, groups.least) for step in steps)
        steps = [step for step in steps if _value(step, groups.most) >= bar]
        joined = [_joined(step) for step in steps]
        bounded = sum(len(few) < len(step) for few, step in zip(joined, steps, strict=True))
        self._bounded = (bounded, len(steps))
        rows = np.array([row for step in joined for row in _rows(step, len(groups.names))])

        def excess(above: NDArray[np.int64]) -> NDArray[np.int64]:
            bits = np.where(above > 0, groups.most, groups.least)
            highest: NDArray[np.int64] = (above * bits).sum(axis=1)
            return highest

        return (
            Peak(
                self.name,
                tuple(
                    {groups.names[g]: Fraction(int(row[g]), 8) for g in np.flatnonzero(row)}
                    for row in _largest(rows, excess)
                ),
            ),
        )

    def notes(self) -> Sequence[str]:
        """Of the network last asked about: how many steps are bounded from above."""
        bounded, steps = self._bounded
        if not bounded:
            return []
        return [
            f"bounded from above: {bounded} of {steps} steps that may be the largest have more than "
            f"{MOST_ROWS} combinations of layers that decide, so some of their tensors count at the "
            "largest bits of all their readers together"
        ]


class _Groups:
    """Layers that share their activation bits, by the ties, and which bits each may have."""

    def __init__(self, network: NetworkDescription, candidates: Candidates) -> None:
        leader = {name: name for name in network.names}

        def lead(name: str) -> str:
            while leader[name] != name:
                name = leader[name]
            return name

        order = {name: i for i, name in enumerate(network.names)}
        for tie in network.ties:
            if tie.side != "weight":
                first, *others = sorted({lead(name) for name in tie.layers}, key=order.__getitem__)
                leader |= dict.fromkeys(others, first)
        self.names = tuple(name for name in network.names if lead(name) == name)
        number = {name: i for i, name in enumerate(self.names)}
        self.of = {name: number[lead(name)] for name in network.names}
        bits: list[set[int]] = [set(range(1, 33)) for _ in self.names]
        for name, offered in candidates.items():
            bits[self.of[name]] &= {precision.activation_bits for precision in offered}
        # A tie without a common choice is refused where the problem is made.
        self.least = np.array([min(of_group, default=1) for of_group in bits])
        self.most = np.array([max(of_group, default=32) for of_group in bits])

    def deciding(self, layers: Sequence[str]) -> frozenset[int]:
        """The groups of these layers, without those that never have the largest bits alone."""
        groups = sorted({self.of[name] for name in layers})
        if not groups:
            return frozenset()
        floor = max(groups, key=lambda group: int(self.least[group]))
        most = self.least[floor]
        return frozenset(g for g in groups if g == floor or self.most[g] > most)


def _steps(tensors: Sequence[ActivationTensor], groups: _Groups) -> list[list[_Stored]]:
    """What is alive at each step that is no part of another: the tensors of equal groups as one."""
    deciding = [groups.deciding(tensor.readers or tensor.makers) for tensor in tensors]
    kinds = {of: i for i, of in enumerate(dict.fromkeys(deciding))}
    firsts = sorted({tensor.steps[0] for tensor in tensors})
    alive = np.zeros((len(firsts), len(kinds)), dtype=np.int64)
    for tensor, of in zip(tensors, deciding, strict=True):
        since, until = np.searchsorted(firsts, [tensor.steps[0], tensor.steps[1] + 1])
        alive[since:until, kinds[of]] += tensor.elements
    return [
        [_Stored(int(step[i]), of) for of, i in kinds.items() if step[i]]
        for step in _largest(alive, lambda above: above.max(axis=1))
    ]


def _joined(stored: list[_Stored]) -> list[_Stored]:
    """The same with so many tensors taken together that there are at most `MOST_ROWS` combinations."""
    while _combinations(stored) > MOST_ROWS:
        several = [one for one in stored if len(one.groups) > 1]
        if len(several) == 1:  # one tensor with so many readers
            break
        a, b = min(combinations(several, 2), key=_growth)
        rest = [one for one in stored if one not in (a, b)]
        together = a.groups | b.groups
        elements = a.elements + b.elements
        elements += sum(one.elements for one in rest if one.groups == together)
        stored = [one for one in rest if one.groups != together]
        stored.append(_Stored(elements, together))
    return stored


def _growth(pair: tuple[_Stored, _Stored]) -> int:
    """By how much two tensors grow that are taken together, roughly."""
    together = len(pair[0].groups | pair[1].groups)
    return sum(one.elements * (together - len(one.groups)) for one in pair)


def _combinations(stored: Sequence[_Stored]) -> int:
    return math.prod(len(one.groups) for one in stored)


def _value(step: Sequence[_Stored], bits: NDArray[np.int64]) -> int:
    """Bits that a step takes with these activation bits of each group."""
    return sum(one.elements * max(int(bits[group]) for group in one.groups) for one in step)


def _rows(step: Sequence[_Stored], groups: int) -> Iterator[NDArray[np.int64]]:
    """Elements per group, for each combination of the groups that decide how a tensor is stored."""
    for deciding in product(*(sorted(one.groups) for one in step)):
        row = np.zeros(groups, dtype=np.int64)
        for group, one in zip(deciding, step, strict=True):
            row[group] += one.elements
        yield row


def _largest(
    rows: NDArray[np.int64], excess: Callable[[NDArray[np.int64]], NDArray[np.int64]]
) -> list[NDArray[np.int64]]:
    """The rows that no other one equals or exceeds.

    `excess` says of differences between rows by how much one can exceed the other at most.
    """
    rows = np.unique(rows, axis=0)
    kept = np.zeros_like(rows)
    count = 0
    # What exceeds another comes first.
    for row in rows[np.lexsort((rows.sum(axis=1), excess(rows)))[::-1]]:
        if not np.any(excess(row - kept[:count]) <= 0):
            kept[count] = row
            count += 1
    return list(kept[:count])
