"""What is open within an allowance, divided into two halves to be listed apart and joined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.search.general.landscape import Landscape, LinkedSteps, Step


@dataclass(frozen=True, eq=False)
class Half:
    """Some steps to be taken one after the other, from every one of some keys.

    `origin` (S,) are the keys that a list starts from, of `keys` in all, and `penalty` (S,) what
    reaching them costs. Its final states are known by their origin and by the key they end with.
    """

    steps: tuple[Step, ...]
    origin: NDArray[np.int64]
    penalty: NDArray[np.float64]
    keys: int


@dataclass(frozen=True, eq=False)
class Halves:
    """Two halves that meet where the first one's last key is the origin of the second.

    `shared` (keys,) is the penalty that both count for a key.
    """

    first: Half
    second: Half
    shared: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Block:
    """Steps that stay together, and about how much they make a list grow."""

    steps: tuple[Step, ...]
    weight: float
    nearest: float


def halves(landscape: Landscape, allowance: float) -> Halves:
    """Divide what is open within an allowance into halves of about equal weight.

    A component that outweighs all the rest is cut: the second half starts from each key at the cut.
    Within a half those come first that have the least room to deviate, so that lists grow late.
    """
    singles = [
        _single(landscape, int(line), allowance)
        for line in np.flatnonzero(landscape.free_nearest <= allowance)
    ]
    linked = [c for c in landscape.linked if c.nearest <= allowance]
    blocks = [_Block(c.steps, sum(_weights(c, allowance)), c.nearest) for c in linked]
    total = sum(block.weight for block in (*singles, *blocks))
    loads = [0.0, 0.0]
    head: tuple[Step, ...] = ()
    tail: tuple[Step, ...] = ()
    shared = np.zeros(1)
    heaviest = max(range(len(blocks)), key=lambda b: blocks[b].weight, default=-1)
    if heaviest >= 0 and blocks[heaviest].weight > total / 2:
        whole = linked[heaviest]
        weights = _weights(whole, allowance)
        at = _cut(whole, weights, total / 2)
        del blocks[heaviest]
        head, tail = whole.steps[:at], whole.steps[at:]
        loads = [sum(weights[:at]), sum(weights[at:])]
        shared = whole.reached[at]
    sides: tuple[list[_Block], list[_Block]] = ([], [])
    for block in sorted((*blocks, *singles), key=lambda b: -b.weight):
        lighter = int(loads[1] < loads[0])
        sides[lighter].append(block)
        loads[lighter] += block.weight
    first, second = (_ordered(side) for side in sides)
    origin = np.flatnonzero(shared <= allowance)
    alone = np.zeros(1, dtype=np.int64)
    return Halves(
        first=Half((*first[0], *head, *first[1]), alone, np.zeros(1), 1),
        second=Half((*tail, *second[0], *second[1]), origin, shared[origin], len(shared)),
        shared=shared,
    )


def _ordered(blocks: list[_Block]) -> tuple[list[Step], list[Step]]:
    """The steps of components, and those of single variables, each by falling nearest penalty."""
    blocks = sorted(blocks, key=lambda block: -block.nearest)
    linked = [step for b in blocks if b.steps[0].next_key is not None for step in b.steps]
    single = [step for b in blocks if b.steps[0].next_key is None for step in b.steps]
    return linked, single


def _single(landscape: Landscape, line: int, allowance: float) -> _Block:
    step = landscape.free_step(line, allowance)
    nearest = float(landscape.free_nearest[line])
    return _Block((step,), _weight(step.penalty[0], allowance), nearest)


def _weights(block: LinkedSteps, allowance: float) -> list[float]:
    return [_weight(marginal, allowance) for marginal in block.marginal]


def _weight(penalty: NDArray[np.float64], allowance: float) -> float:
    """Options that are open, each counting by the room that it leaves; the picked one does not."""
    return float((1.0 - penalty[penalty <= allowance] / allowance).sum()) - 1.0


def _cut(block: LinkedSteps, weights: list[float], aim: float) -> int:
    """The place near half the weight where the fewest keys must be known."""
    before = np.cumsum([0.0, *weights])
    places = np.arange(1, len(weights))
    keys = np.array([len(block.reached[t]) for t in places])
    off = np.abs(before[places] - aim)
    near = off <= 0.15 * before[-1] + off.min()
    return int(min(zip(keys[near], off[near], places[near], strict=True))[2])
