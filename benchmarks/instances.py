"""Allocation problems by family, size and seed: the same call gives the same problem everywhere.

`network` is what networks are like: losses fall convexly with the bits, costs are bit-operations,
weight sizes and latencies. The others are the classes of the multiple-choice knapsack literature
[Pis1995]: `uncorrelated`, `correlated` (losses that all but add up with the costs) and `subset-sum`
(losses that do, so that the bound says nothing but whether the budget can be filled).

.. [Pis1995] Pisinger: A minimal algorithm for the multiple-choice knapsack problem. European
   Journal of Operational Research 83(2), 1995.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem
from bitwright.problems.terms import Interaction

FAMILIES = ("network", "uncorrelated", "correlated", "subset-sum")
COSTS = ("bitops", "size_bits", "latency_us")
_BITS = {
    4: list(product((4, 8), (4, 8))),
    8: list(product((2, 4, 6, 8), (4, 8))),
    16: list(product((2, 4, 6, 8), (2, 4, 6, 8))),
}
_LARGEST = 10**4
"""Costs of the hard families go up to this, the larger of the two ranges in [Pis1995]."""

Table = NDArray[Any]


@dataclass(frozen=True)
class Spec:
    """What a problem is made from: layers of 4, 8 or 16 choices, up to three budgets, the seed.

    Every budget lies a `share` of the way from the least total of its cost to the largest. With
    `linked`, neighbours and neighbours of neighbours interact in the loss.
    """

    family: str
    layers: int
    choices: int = 16
    budgets: int = 1
    seed: int = 0
    share: float = 0.35
    linked: bool = False

    @property
    def name(self) -> str:
        """Family, size and seed in short."""
        budgets = f", {self.budgets} budgets" if self.budgets > 1 else ""
        return f"{self.family} {self.layers} x {self.choices}{budgets}, seed {self.seed}"

    def document(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return asdict(self)


def problem_of(spec: Spec) -> AllocationProblem:
    """Build the problem; the budgets can be met."""
    key = f"{spec.family} {spec.layers} {spec.choices} {spec.budgets} {spec.linked}"
    random = np.random.default_rng([spec.seed, crc32(key.encode())])
    losses, costs = _MAKERS[spec.family](random, spec.layers, spec.choices, max(spec.budgets, 1))
    names = tuple(f"layer{i}" for i in range(spec.layers))
    bits = np.array(_BITS[spec.choices])
    return AllocationProblem(
        name=spec.name,
        layers=names,
        choice_start=np.arange(spec.layers + 1) * spec.choices,
        weight_bits=np.tile(bits[:, 0], spec.layers),
        activation_bits=np.tile(bits[:, 1], spec.layers),
        loss=losses.ravel(),
        costs={name: table.ravel() for name, table in zip(COSTS, costs, strict=False)},
        interactions=_skip_chain(random, names, losses) if spec.linked else (),
        budgets={
            name: _between(table, spec.share)
            for name, table in zip(COSTS[: spec.budgets], costs, strict=False)
        },
    )


def _between(table: Table, share: float) -> int:
    """The amount a share of the way from the least total to the largest, an integer."""
    low, high = int(table.min(axis=1).sum()), int(table.max(axis=1).sum())
    return low + int((high - low) * share)


def _network(
    random: np.random.Generator, layers: int, choices: int, budgets: int
) -> tuple[Table, list[Table]]:
    """Convolutions: 16 to 512 channels in steps of 8, kernels of 1 or 3, maps of 7 to 56."""
    bits = np.array(_BITS[choices])
    channels_in, channels_out = 8 * random.integers(2, 65, (2, layers, 1))
    kernel, side = random.choice([1, 9], (layers, 1)), random.choice([7, 14, 28, 56], (layers, 1))
    weights = channels_in * channels_out * kernel
    macs = weights * side**2
    sensitivity = 10 ** random.uniform(-1, 3, (layers, 1))
    inputs = sensitivity * random.uniform(0.1, 1, (layers, 1))
    noise = sensitivity * 4.0 ** -bits[:, 0] + inputs * 4.0 ** -bits[:, 1]
    losses = noise * random.uniform(0.97, 1.03, noise.shape)
    compute = macs * np.maximum(*bits.T) / 2e6
    memory = (weights * bits[:, 0] + channels_in * side**2 * bits[:, 1]) / 1e5
    latencies = np.rint((compute + memory) * random.uniform(0.95, 1.05, noise.shape)).astype(int)
    tables = [macs * bits.prod(axis=1), np.broadcast_to(weights * bits[:, 0], noise.shape)]
    return losses, [*tables, latencies][:budgets]


def _uncorrelated(
    random: np.random.Generator, layers: int, choices: int, budgets: int
) -> tuple[Table, list[Table]]:
    costs = [random.integers(1, _LARGEST, (layers, choices)) for _ in range(budgets)]
    return random.random((layers, choices)), costs


def _correlated(
    random: np.random.Generator, layers: int, choices: int, budgets: int
) -> tuple[Table, list[Table]]:
    """Every step of a choice gains its cost and a constant more; of several costs, their mean."""
    steps = random.integers(1, _LARGEST // choices, (budgets, layers, choices))
    gains = (steps.mean(axis=0) + _LARGEST / choices / 10).cumsum(axis=1)
    costs = steps.cumsum(axis=2)
    if budgets > 1:  # in another order for each cost, or one budget would decide for all
        gains += random.normal(0, _LARGEST / choices / 10, gains.shape)
        costs = np.array([random.permuted(table, axis=1) for table in costs])
    return (gains.max() - gains) / _LARGEST, list(costs)


def _subset_sum(
    random: np.random.Generator, layers: int, choices: int, budgets: int
) -> tuple[Table, list[Table]]:
    costs = [random.integers(1, _LARGEST, (layers, choices)) for _ in range(budgets)]
    total = np.sum(costs, axis=0, dtype=np.int64)
    return (total.max() - total).astype(np.float64), costs


def _skip_chain(
    random: np.random.Generator, names: tuple[str, ...], losses: Table
) -> list[Interaction]:
    """Terms between neighbours and their neighbours, about a fifth as large as the losses."""
    size, n = float(np.abs(losses).mean()) / 5, len(names)
    pairs = [(i, i + step) for i in range(n) for step in (1, 2) if i + step < n]
    shape = (losses.shape[1],) * 2
    return [
        Interaction((names[a], names[b]), random.normal(0, size, shape).tolist()) for a, b in pairs
    ]


_MAKERS = {
    "network": _network,
    "uncorrelated": _uncorrelated,
    "correlated": _correlated,
    "subset-sum": _subset_sum,
}
