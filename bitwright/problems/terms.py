"""Terms of a problem beyond one layer at a time: pairwise interactions and peak costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from bitwright.problems.errors import InputError
from bitwright.problems.exact import Number, exact

Matrix = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True)
class Interaction:
    """What is added when the first layer takes its choice a and the second its choice b.

    `loss` has shape (choices of the first layer, choices of the second), and so has each of `costs`.
    """

    layers: tuple[str, str]
    loss: tuple[tuple[float, ...], ...]
    costs: Mapping[str, Matrix] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        pair = tuple(self.layers)
        if len(pair) != 2 or pair[0] == pair[1]:
            raise InputError(f"an interaction needs two different layers, got {list(pair)}")
        what = f"interaction of {pair[0]!r} and {pair[1]!r}"
        object.__setattr__(self, "layers", pair)
        loss = _matrix(self.loss, f"{what}: loss")
        object.__setattr__(self, "loss", tuple(tuple(float(v) for v in row) for row in loss))
        costs = {n: _matrix(m, f"{what}: cost {n!r}") for n, m in self.costs.items()}
        object.__setattr__(self, "costs", costs)
        for name, matrix in costs.items():
            if _shape(matrix) != self.shape:
                raise InputError(
                    f"{what}: cost {name!r} must have the shape of its loss {self.shape}, got {_shape(matrix)}"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Choices of the first layer, choices of the second."""
        return len(self.loss), len(self.loss[0])


@dataclass(frozen=True)
class Peak:
    """A cost that is the largest over execution steps, such as the memory of activations alive.

    Every step maps layers to bytes per activation bit; its value is the sum of these numbers times
    the activation bits of their layers.
    """

    cost: str
    steps: tuple[Mapping[str, Fraction], ...] = field(hash=False)

    def __post_init__(self) -> None:
        steps = []
        for k, step in enumerate(self.steps):
            numbers = {
                n: exact(v, f"peak {self.cost!r}, step {k}, layer {n!r}") for n, v in step.items()
            }
            for name, number in numbers.items():
                if number < 0:
                    raise InputError(
                        f"peak {self.cost!r}, step {k}, layer {name!r} must not be negative, got {number}"
                    )
            steps.append(numbers)
        if not steps or not all(steps):
            raise InputError(f"peak {self.cost!r} needs one or more steps, each naming a layer")
        object.__setattr__(self, "steps", tuple(steps))

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers named in any step."""
        return tuple(dict.fromkeys(name for step in self.steps for name in step))

    def value(self, activation_bits: Mapping[str, int]) -> Fraction:
        """The largest step for the given activation bits per layer."""
        return max(
            sum((number * activation_bits[name] for name, number in step.items()), Fraction(0))
            for step in self.steps
        )


def _matrix(rows: Sequence[Sequence[Number]] | Any, what: str) -> Matrix:
    matrix = tuple(
        tuple(exact(v, f"{what}[{a}][{b}]") for b, v in enumerate(row))
        for a, row in enumerate(rows)
    )
    if not matrix or not matrix[0] or len({len(row) for row in matrix}) != 1:
        raise InputError(
            f"{what} must be a full matrix, got rows of lengths {[len(r) for r in matrix]}"
        )
    return matrix


def _shape(matrix: Matrix) -> tuple[int, int]:
    return len(matrix), len(matrix[0])
