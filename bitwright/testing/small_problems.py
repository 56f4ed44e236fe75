"""Small problems made by hand, each for one thing that a solver may get wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from bitwright.problems.exact import Number
from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem, Choice, LayerChoices
from bitwright.problems.terms import Interaction, Peak
from bitwright.problems.ties import Tie


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
_TOY_LATENCIES = [[6, 4, 1], [5, 4, 2], [5, 3, 2]]
_GRID = [[Precision(w, a) for w in (2, 4) for a in (2, 8)]] * 3
_GRID_LOSSES: list[list[float]] = [[9, 4, 3, 1], [8, 5, 4, 0], [3, 2, 1.5, 0]]
_GRID_COSTS = [[4, 16, 8, 32], [5, 17, 9, 30], [6, 20, 11, 41]]
_STEPS = (
    {"layer0": Fraction(5), "layer1": Fraction(8)},
    {"layer1": Fraction(8), "layer2": Fraction(5, 2)},
)
_BIG = 10**15


def small_problems() -> Iterator[AllocationProblem]:
    """All of them, few enough configurations each to try them all.

    Those named `infeasible` have no configuration, which multipliers of the budgets prove; those
    named `no integer answer` have none either, but fractions of choices would meet the budgets.
    """
    yield from _one_budget()
    yield from _awkward_numbers()
    yield from _several_budgets()
    yield from _tied()
    yield from _pairwise()
    yield from _pairwise_costs()
    yield from _with_peaks()


def _toy(name: str, **terms: Any) -> AllocationProblem:
    return tabulated(name, _TOY_LOSSES, {"size_bits": _TOY_COSTS}, **terms)


def _grid(name: str, **terms: Any) -> AllocationProblem:
    return tabulated(name, _GRID_LOSSES, {"bitops": _GRID_COSTS}, _GRID, **terms)


def _two_costs(name: str, size: int, latency: int, **terms: Any) -> AllocationProblem:
    costs = {"size_bits": _TOY_COSTS, "latency_us": _TOY_LATENCIES}
    budgets = {"size_bits": size, "latency_us": latency}
    return tabulated(name, _TOY_LOSSES, costs, budgets=budgets, **terms)


def _one_cost(
    name: str,
    losses: Sequence[Sequence[float]],
    costs: Sequence[Sequence[Number]],
    budget: Number,
    **terms: Any,
) -> AllocationProblem:
    return tabulated(name, losses, {"cost_us": costs}, budgets={"cost_us": budget}, **terms)


def _tie(*layers: int, side: Any = "all") -> Tie:
    return Tie(tuple(f"layer{i}" for i in layers), side)


def _pair(a: int, b: int, loss: Sequence[Sequence[float]], **costs: Any) -> Interaction:
    matrix = tuple(tuple(row) for row in loss)
    return Interaction((f"layer{a}", f"layer{b}"), matrix, costs)


def _one_budget() -> Iterator[AllocationProblem]:
    yield _toy("toy", budgets={"size_bits": 7})
    yield _toy("no budget")
    yield _toy("budget met with equality", budgets={"size_bits": 8})
    yield _toy("only the cheapest fits", budgets={"size_bits": 3})
    yield _toy("slack budget", budgets={"size_bits": 12})
    yield _toy("fixed cost", budgets={"size_bits": 10}, fixed_costs={"size_bits": 3})
    yield _toy("infeasible alone", budgets={"size_bits": 2})
    yield _one_cost("one layer", [[3, 2, 1]], [[1, 2, 3]], 2)
    yield _one_cost("one choice", [[3], [2], [-1]], [[1], [2], [3]], 6)
    yield _one_cost("zero scores", [[0, 0], [0, 0]], [[2, 1], [1, 2]], 3)
    yield _one_cost("zero costs", [[3, 1], [2, 5]], [[0, 0], [0, 0]], 0)
    yield _one_cost("equal costs", [[3, 1, 2], [0, -4, 7]], [[5, 5, 5], [5, 5, 5]], 10)
    yield _one_cost("greedy trap", [[10, 0], [10, 1], [10, 1]], [[0, 6], [0, 5], [0, 5]], 10)
    yield _one_cost(
        "dominated and alike choices",
        [[5, 5, 6, 1, 2], [4, 4, 4, 0], [7, 3, 3]],
        [[1, 1, 1, 5, 6], [2, 2, 3, 4], [1, 2, 2]],
        10,
    )
    yield _one_cost("lists of other lengths", [[4], [6, 1, 0], [5, 2]], [[2], [1, 3, 9], [1, 4]], 9)


def _awkward_numbers() -> Iterator[AllocationProblem]:
    big, huge = _BIG, 10**30
    yield _one_cost("decimals", [[1, 0]] * 3, [[0, 0.1], [0, 0.2], [0, 0.3]], 0.6)
    yield _one_cost(
        "negative losses", [[-1e-4, -1e4], [5, -3], [0, -1e-3]], [[1, 9], [1, 4], [1, 3]], 13
    )
    yield _one_cost(
        "losses over eight decades",
        [[1e4, 1e3, 0], [1, 0.1, 0], [1e-3, 1e-4, 0]],
        [[0, 2, 9], [0, 3, 4], [0, 1, 3]],
        9,
    )
    yield _one_cost(
        "one unit below",
        [[5, 0], [5, 0], [5, 0]],
        [[0, big], [0, big - 1], [0, big + 1]],
        2 * big - 1,
    )
    yield _one_cost(
        "integers beyond int64",
        [[5, 1], [4, 0], [3, 0]],
        [[0, huge], [1, huge + 1], [2, huge + 2]],
        2 * huge + 1,
    )


def _several_budgets() -> Iterator[AllocationProblem]:
    yield _two_costs("two budgets", 7, 12)
    yield _two_costs("two budgets, one of them slack", 7, 16)
    yield _two_costs("two budgets met with equality", 8, 11)
    yield _two_costs("infeasible together", 4, 13)
    yield tabulated(
        "no integer answer",
        [[1, 2], [2, 1]],
        {"size_bits": [[0, 2], [0, 2]], "latency_us": [[2, 0], [2, 0]]},
        budgets={"size_bits": 1, "latency_us": 3},
    )
    yield tabulated(
        "three budgets",
        [[9, 4, 1, 0], [8, 5, 4, 2], [3, 2, 0, -1]],
        {
            "bitops": [[1, 4, 9, 16], [2, 6, 12, 20], [1, 3, 6, 10]],
            "size_bits": [[8, 2, 6, 4], [1, 9, 3, 5], [7, 7, 2, 2]],
            "latency_ms": [[0.3, 0.1, 0.2, 0.4], [0.1, 0.2, 0.1, 0.3], [0.2, 0.2, 0.5, 0.1]],
        },
        budgets={"bitops": 25, "size_bits": 14, "latency_ms": 0.7},
    )
    yield tabulated(
        "two budgets, a unit of 1e15 decides",
        [[5, 0], [5, 0], [5, 0]],
        {
            "bitops": [[0, _BIG], [0, _BIG - 1], [0, _BIG + 1]],
            "size_bits": [[1, _BIG], [1, _BIG], [1, _BIG]],
        },
        budgets={"bitops": 2 * _BIG - 1, "size_bits": 2 * _BIG + 1},
    )


def _tied() -> Iterator[AllocationProblem]:
    yield _toy("tie of all sides", budgets={"size_bits": 8}, ties=[_tie(0, 2)])
    yield _toy("chained ties", budgets={"size_bits": 7}, ties=[_tie(0, 1), _tie(1, 2)])
    yield _grid("tie of weight bits", budgets={"bitops": 22}, ties=[_tie(0, 1, side="weight")])
    yield _grid(
        "tie of activation bits", budgets={"bitops": 70}, ties=[_tie(0, 2, side="activation")]
    )
    yield _grid(
        "ties of both sides",
        budgets={"bitops": 62},
        ties=[_tie(0, 1, side="weight"), _tie(1, 2, side="activation"), _tie(0, 2)],
    )
    lists = [
        [Precision(8, 8), Precision(2, 8), Precision(4, 8, "svd-32")],
        [Precision(4, 8), Precision(4, 8, "svd-32"), Precision(8, 8)],
        [Precision(4, 4), Precision(8, 4)],
    ]
    losses, costs = [[1, 7, 2], [3, 4, 0], [5, 1]], [[9, 2, 5], [4, 6, 8], [3, 7]]
    for side in ("all", "weight"):
        tied = [_tie(0, 1, side=side), _tie(1, 2, side="weight")]
        yield tabulated(
            f"tie of layers with other choices, side {side}",
            losses, {"size_bits": costs}, lists, budgets={"size_bits": 20}, ties=tied,
        )  # fmt: skip


def _pairwise() -> Iterator[AllocationProblem]:
    size = {"size_bits": 8}
    first = _pair(0, 1, [[0, 1, 1], [1, 0, 1], [3, 2, 0]])
    second = _pair(1, 2, [[0, 2, 1], [1, -3, 1], [2, 2, -1]])
    clash = _pair(1, 2, [[0, 0, 0], [0, 0, 0], [0, 0, 9]])
    skip = _pair(2, 0, [[0, -2, 4], [1, 0, 3], [2, 5, -6]])
    same = _pair(0, 2, [[-6, 0, 0], [0, 1, 0], [0, 0, 5]])
    yield _toy("pairwise terms", budgets=size, interactions=[first])
    yield _toy("pairwise terms without a budget", interactions=[first, second, skip, clash])
    yield _toy("pairwise chain", budgets={"size_bits": 10}, interactions=[first, second])
    yield _toy("pairwise chain with a skip", budgets=size, interactions=[first, second, skip])
    yield _toy(
        "pairwise twice and turned round", budgets=size, interactions=[skip, skip, _turned(skip)]
    )
    yield _toy(
        "pairwise terms outweigh all",
        budgets=size,
        interactions=[_pair(0, 2, [[-1e4, 1e4, 0], [0, -1e4, 1e4], [1e4, 0, -1e-4]])],
    )
    yield _toy(
        "pairwise between tied layers", budgets=size, interactions=[first, same], ties=[_tie(0, 2)]
    )
    grid: list[list[float]] = [[0, 6, -9, 4], [1, 0, 3, 1], [0.5, 7, 9, 0], [-5, 1, 2, 3]]
    for side, budget in (("weight", 40), ("activation", 60)):
        yield _grid(
            f"pairwise between layers tied in {side} bits",
            budgets={"bitops": budget},
            interactions=[_pair(0, 1, grid), _pair(1, 2, grid)],
            ties=[_tie(0, 1, side=side)],
        )
    yield _two_costs("pairwise terms under two budgets", 7, 12, interactions=[second, skip])


def _turned(term: Interaction) -> Interaction:
    return Interaction(term.layers[::-1], tuple(zip(*term.loss, strict=True)))


def _pairwise_costs() -> Iterator[AllocationProblem]:
    none = [[0, 0], [0, 0]]
    losses, costs = [[6, 1], [5, 2], [4, 0]], [[1, 3], [1, 4], [2, 3]]
    differ = [[0, 1.4], [1.4, 0]]
    conversions = [_pair(0, 1, none, cost_us=differ), _pair(1, 2, none, cost_us=differ)]
    for budget in (9.3, 9.4, 10):
        name = f"conversions between neighbours, budget {budget}"
        yield _one_cost(name, losses, costs, budget, interactions=conversions)
    yield _one_cost(
        "conversions and fixed cost",
        losses, costs, 9.6, interactions=conversions, fixed_costs={"cost_us": Fraction(1, 4)},
    )  # fmt: skip
    yield _one_cost(
        "infeasible by conversions alone",
        losses, costs, 5, interactions=[_pair(0, 2, none, cost_us=[[2, 2], [2, 2]])],
    )  # fmt: skip
    yield _one_cost(
        "conversion of 1e15 and a unit",
        losses, costs, _BIG + 7,
        interactions=[_pair(0, 1, [[0, -9], [-9, 0]], cost_us=[[0, _BIG], [_BIG + 1, 0]])],
    )  # fmt: skip


def _with_peaks() -> Iterator[AllocationProblem]:
    peaks = [Peak("peak_bytes", _STEPS)]
    yield _grid("peak", budgets={"peak_bytes": 90}, peaks=peaks)
    yield _grid("peak met with equality", budgets={"peak_bytes": 84}, peaks=peaks)
    yield _grid("infeasible peak", budgets={"peak_bytes": 25}, peaks=peaks)
    yield _grid("peak without a budget", budgets={"bitops": 60}, peaks=peaks)
    yield _grid("peak and a sum", budgets={"peak_bytes": 50, "bitops": 50}, peaks=peaks)
    yield _grid(
        "peak in two parts with a fixed cost",
        budgets={"peak_bytes": 84},
        peaks=[Peak("peak_bytes", _STEPS[:1]), Peak("peak_bytes", _STEPS[1:])],
        fixed_costs={"peak_bytes": Fraction(3, 2)},
    )
    yield _grid(
        "peak of tied layers",
        budgets={"peak_bytes": 50, "bitops": 62},
        peaks=peaks,
        ties=[_tie(0, 2, side="activation")],
    )
    yield _grid(
        "peak and pairwise terms",
        budgets={"peak_bytes": 50, "bitops": 62},
        peaks=peaks,
        interactions=[_pair(0, 2, [[0, 1, -2, 0], [3, -1, 0, 0], [0, 0, 0, 5], [-4, 0, 2, 0]])],
    )
