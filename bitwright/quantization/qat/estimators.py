"""Estimators by name: how gradients pass a quantizer, and what of it is trained.

| name | weights | activations |
|---|---|---|
| `ste` | straight-through, fixed grid | straight-through, fixed grid |
| `lsq` | LSQ | LSQ |
| `lsq+` | LSQ | LSQ+ (step and offset) |
| `pact` | straight-through, fixed grid | PACT (clip) |
| `alpha` | alpha-blending, fixed grid | alpha-blending around LSQ |

A further one is an entry in `ESTIMATORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bitwright.problems.errors import InputError, nearest
from bitwright.quantization.grids import QuantizationGrid
from bitwright.quantization.qat.blending import BlendingQuantizer
from bitwright.quantization.qat.learned_step import (
    LearnedClipQuantizer,
    LearnedOffsetQuantizer,
    LearnedStepQuantizer,
)
from bitwright.quantization.quantizers import GridQuantizer, IntegerQuantizer, Quantizer

Make = Callable[[QuantizationGrid], IntegerQuantizer]


@dataclass(frozen=True, slots=True)
class Estimator:
    """Makes the quantizers of a layer's two sides from calibrated grids."""

    weight: Make
    activation: Make


def _batched(kind: Callable[..., IntegerQuantizer]) -> Make:
    return lambda grid: kind(grid, batched=True)


ESTIMATORS: dict[str, Estimator] = {
    "ste": Estimator(GridQuantizer, GridQuantizer),
    "lsq": Estimator(LearnedStepQuantizer, _batched(LearnedStepQuantizer)),
    "lsq+": Estimator(LearnedStepQuantizer, _batched(LearnedOffsetQuantizer)),
    "pact": Estimator(GridQuantizer, _batched(LearnedClipQuantizer)),
    "alpha": Estimator(
        lambda grid: BlendingQuantizer(GridQuantizer(grid), held=True),
        lambda grid: BlendingQuantizer(LearnedStepQuantizer(grid, batched=True), held=False),
    ),
}


def estimator_named(name: str) -> Estimator:
    """Look an estimator up; raises `InputError` with the nearest name."""
    if name not in ESTIMATORS:
        raise InputError(f"estimator {name!r} is unknown; {nearest(name, ESTIMATORS)}")
    return ESTIMATORS[name]


def trained_by(make: Make, quantizer: Quantizer | None) -> Quantizer | None:
    """The quantizer an estimator puts in the place of one with a fixed grid; others stay as they are."""
    return make(quantizer.grid) if type(quantizer) is GridQuantizer else quantizer
