"""Small problems whose optimum is known: by brute force, or published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import SolverTraits
from bitwright.problems.ties import Tie
from bitwright.testing.brute_force import brute_force
from bitwright.testing.small_problems import small_problems, tabulated


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
        pairs = (abs(v) for term in self.problem.interactions for row in term.loss for v in row)
        return 1e-9 * (float(abs(self.problem.loss).sum()) + max(pairs, default=0.0))

    def suits(self, traits: SolverTraits) -> bool:
        """Whether a solver of these traits takes the problem."""
        problem = self.problem
        one_sided = any(tie.side != "all" for tie in problem.ties)
        return (
            (traits.several_budgets or len(problem.budgets) < 2)
            and (traits.pairwise or not problem.interactions)
            and (traits.side_ties or not one_sided)
            and (traits.peaks or not any(p.cost in problem.budgets for p in problem.peaks))
        )


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
    *(KnownCase(problem.name, problem) for problem in small_problems()),
    _ten_layers(15.592193, "8 4 4 3 2 3 2 2 3 2", size_bits=482040),
    _ten_layers(7.697393, "8 4 4 4 3 3 3 2 4 2", size_bits=578448),
    _ten_layers(3.896468, "8 6 6 4 4 3 3 3 4 3", size_bits=674856),
    _ten_layers(2.172666, "8 6 8 4 4 4 4 3 4 4", size_bits=771264),
    _ten_layers(0.704288, "8 8 6 6 6 4 4 4 6 6", size_bits=964080),
    _ten_layers(6.949575, "4 4 3 4 4 3 3 2 4 3", size_bits=674856, bitops=1509939),
    _ten_layers(
        4.690688, "4 6 4 4 3 3 3 4 4 3", size_bits=674856, ties=[Tie(("layer7", "layer8"))]
    ),
    _ten_layers(
        3.984556, "8 4 6 4 3 4 3 3 4 3", size_bits=674856, ties=[Tie(("layer3", "layer5"))]
    ),
)
"""Every case of the contract; a solver skips those that its traits do not take."""

__all__ = ["KNOWN_CASES", "KnownCase", "tabulated"]
