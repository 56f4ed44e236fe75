"""Small problems whose optimum is known: by brute force, or published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from bitwright.problems.exact import Number
from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem, Choice, LayerChoices
from bitwright.problems.protocols import SolverTraits
from bitwright.problems.terms import Interaction, Peak
from bitwright.problems.ties import Tie
from bitwright.testing.brute_force import brute_force


@dataclass(frozen=True, eq=False)
class KnownCase:
    """A problem and its optimum; published ones carry the weight bits of every layer too.

    Published losses have six decimals, others are exact up to the last bit.
    """

    name: str
    problem: AllocationProblem
    published_loss: float | None = None
    published_bits: tuple[int, ...] = ()

    @cached_property
    def optimum(self) -> float | None:
        """The least loss; None where no configuration meets the budgets."""
        if self.published_loss is not None:
            return self.published_loss
        found = brute_force(self.problem)
        return None if found is None else found.loss

    @property
    def tolerance(self) -> float:
        """How far a right answer may be from `optimum`."""
        if self.published_loss is not None:
            return 5e-7
        return 1e-9 * float(abs(self.problem.loss).sum())

    def suits(self, traits: SolverTraits) -> bool:
        """Whether a solver of these traits takes the problem."""
        problem = self.problem
        one_sided = any(tie.side != "all" for tie in problem.ties)
        return (
            (traits.several_budgets or len(problem.budgets) < 2)
            and (traits.pairwise or not problem.interactions)
            and (traits.side_ties or not one_sided)
            and (traits.peaks or not problem.peaks)
        )


def tabulated(
    name: str,
    losses: Sequence[Sequence[float]],
    costs: Mapping[str, Sequence[Sequence[Number]]],
    bits: Sequence[Sequence[Precision]] = (),
    **terms: Any,
) -> AllocationProblem:
    """A problem from one row per layer and one column per choice, w1a8 upwards unless given."""
    layers = []
    for i, row in enumerate(losses):
        precisions = bits[i] if bits else [Precision(j + 1, 8) for j in range(len(row))]
        choices = [
            Choice(precisions[j], loss, {c: table[i][j] for c, table in costs.items()})
            for j, loss in enumerate(row)
        ]
        layers.append(LayerChoices(f"layer{i}", tuple(choices)))
    return AllocationProblem.from_layers(name, layers, **terms)


_TOY_LOSSES = [[9, 4, 1], [8, 5, 4], [3, 2, 0]]
_TOY_COSTS = [[1, 2, 3], [1, 2, 4], [1, 3, 5]]
_GRID = [[Precision(w, a) for w in (2, 4) for a in (2, 8)]] * 3
_GRID_LOSSES: list[list[float]] = [[9, 4, 3, 1], [8, 5, 4, 0], [3, 2, 1.5, 0]]
_GRID_COSTS = [[4, 16, 8, 32], [5, 17, 9, 30], [6, 20, 11, 41]]


def _toy(name: str, **terms: Any) -> KnownCase:
    return KnownCase(name, tabulated(name, _TOY_LOSSES, {"size_bits": _TOY_COSTS}, **terms))


def _grid(name: str, **terms: Any) -> KnownCase:
    return KnownCase(name, tabulated(name, _GRID_LOSSES, {"bitops": _GRID_COSTS}, _GRID, **terms))


def _one_cost(
    name: str, losses: Sequence[Sequence[float]], costs: Sequence[Sequence[Number]], budget: Number
) -> KnownCase:
    problem = tabulated(name, losses, {"cost_us": costs}, budgets={"cost_us": budget})
    return KnownCase(name, problem)


def _small_cases() -> Iterable[KnownCase]:
    """Cases whose optimum is found by brute force."""
    big = 10**15
    yield _toy("toy", budgets={"size_bits": 7})
    yield _toy("no budget")
    yield _toy("budget met with equality", budgets={"size_bits": 8})
    yield _toy("only the cheapest fits", budgets={"size_bits": 3})
    yield _toy("fixed cost", budgets={"size_bits": 10}, fixed_costs={"size_bits": 3})
    yield _toy("tie of all sides", budgets={"size_bits": 8}, ties=[_tie(0, 2)])
    yield _toy("chained ties", budgets={"size_bits": 7}, ties=[_tie(0, 1), _tie(1, 2)])
    yield _grid("tie of weight bits", budgets={"bitops": 60}, ties=[_tie(0, 1, side="weight")])
    yield _grid(
        "tie of activation bits", budgets={"bitops": 60}, ties=[_tie(0, 2, side="activation")]
    )
    yield _one_cost("one layer", [[3, 2, 1]], [[1, 2, 3]], 2)
    yield _one_cost("one choice", [[3], [2], [-1]], [[1], [2], [3]], 6)
    yield _one_cost("zero scores", [[0, 0], [0, 0]], [[2, 1], [1, 2]], 3)
    yield _one_cost("zero costs", [[3, 1], [2, 5]], [[0, 0], [0, 0]], 0)
    yield _one_cost("greedy trap", [[10, 0], [10, 1], [10, 1]], [[0, 6], [0, 5], [0, 5]], 10)
    yield _one_cost("decimals", [[1, 0]] * 3, [[0, 0.1], [0, 0.2], [0, 0.3]], 0.6)
    yield _one_cost(
        "negative losses", [[-1e-4, -1e4], [5, -3], [0, -1e-3]], [[1, 9], [1, 4], [1, 3]], 13
    )
    yield _one_cost(
        "one unit below",
        [[5, 0], [5, 0], [5, 0]],
        [[0, big], [0, big - 1], [0, big + 1]],
        2 * big - 1,
    )
    yield _one_cost(
        "integers beyond int64", [[5, 1], [4, 0], [3, 0]],
        [[0, 10**30], [1, 10**30 + 1], [2, 10**30 + 2]], 2 * 10**30 + 1,
    )  # fmt: skip
    yield _toy_with_two_budgets("two budgets", 7, 12)
    yield _toy_with_two_budgets("infeasible together", 4, 13)
    yield _toy("infeasible alone", budgets={"size_bits": 2})
    yield _grid(
        "peak", budgets={"peak_bytes": 90},
        peaks=[Peak("peak_bytes", (
            {"layer0": Fraction(5), "layer1": Fraction(8)},
            {"layer1": Fraction(8), "layer2": Fraction(5, 2)},
        ))],
    )  # fmt: skip
    pair = Interaction(("layer0", "layer1"), ((0, 1, 1), (1, 0, 1), (3, 2, 0)))
    yield _toy("pairwise terms", budgets={"size_bits": 7}, interactions=[pair])


def _tie(*layers: int, side: Any = "all") -> Tie:
    return Tie(tuple(f"layer{i}" for i in layers), side)


def _toy_with_two_budgets(name: str, size: int, latency: int) -> KnownCase:
    latencies = [[6, 4, 1], [5, 4, 2], [5, 3, 2]]
    costs = {"size_bits": _TOY_COSTS, "latency_us": latencies}
    budgets = {"size_bits": size, "latency_us": latency}
    return KnownCase(name, tabulated(name, _TOY_LOSSES, costs, budgets=budgets))


_WEIGHTS = (432, 3456, 6912, 13824, 20736, 27648, 36864, 36864, 27648, 18432)
_THOUSAND_MACS = (1769, 3539, 7078, 3539, 5308, 7078, 9437, 9437, 7078, 4719)
_SENSITIVITY = (90, 14, 11, 4.2, 3.1, 2.6, 1.4, 0.9, 5.5, 1.2)
_BITS = (2, 3, 4, 6, 8)


def _ten_layers(loss: float, bits: str, *, ties: Sequence[Tie] = (), **budgets: int) -> KnownCase:
    """A ten-layer instance with answers that a MILP and a DP agree on."""
    name = f"ten layers, {' and '.join(f'{n} {b}' for n, b in budgets.items())}" + ", tied" * len(
        ties
    )
    problem = tabulated(
        name,
        [[a * n * 4.0**-b / 1000 for b in _BITS] for a, n in zip(_SENSITIVITY, _WEIGHTS, strict=True)],
        {"size_bits": [[n * b for b in _BITS] for n in _WEIGHTS],
         "bitops": [[m * b * 8 for b in _BITS] for m in _THOUSAND_MACS]},
        [[Precision(b, 8) for b in _BITS]] * len(_WEIGHTS),
        budgets=budgets,
        ties=ties,
    )  # fmt: skip
    return KnownCase(name, problem, loss, tuple(int(b) for b in bits.split()))


KNOWN_CASES: tuple[KnownCase, ...] = (
    *_small_cases(),
    _ten_layers(15.592193, "8 4 4 3 2 3 2 2 3 2", size_bits=482040),
    _ten_layers(7.697393, "8 4 4 4 3 3 3 2 4 2", size_bits=578448),
    _ten_layers(3.896468, "8 6 6 4 4 3 3 3 4 3", size_bits=674856),
    _ten_layers(2.172666, "8 6 8 4 4 4 4 3 4 4", size_bits=771264),
    _ten_layers(0.704288, "8 8 6 6 6 4 4 4 6 6", size_bits=964080),
    _ten_layers(6.949575, "4 4 3 4 4 3 3 2 4 3", size_bits=674856, bitops=1509939),
    _ten_layers(4.690688, "4 6 4 4 3 3 3 4 4 3", size_bits=674856, ties=[_tie(7, 8)]),
    _ten_layers(3.984556, "8 4 6 4 3 4 3 3 4 3", size_bits=674856, ties=[_tie(3, 5)]),
)
"""Every case of the contract; a solver skips those that its traits do not take."""
