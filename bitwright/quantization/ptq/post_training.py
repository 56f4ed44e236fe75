"""Post-training quantization: the steps that improve it, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from bitwright.networks import TracedNetwork, as_inputs, read_network
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError, nearest
from bitwright.quantization.apply import quantized_copy
from bitwright.quantization.calibration import Calibration, calibrate
from bitwright.quantization.ptq.adaptive_rounding import RoundingRecipe, round_adaptively
from bitwright.quantization.ptq.bias_correction import correct_biases
from bitwright.quantization.ptq.equalization import equalize_layers
from bitwright.quantization.ptq.folding import fold_batch_norms

STEPS = ("fold", "equalize", "adaround", "bias_correction")
"""Steps of post-training quantization in the order in which they run."""

BEST_STEPS = ("fold", "adaround")
"""The steps that paid together where they were measured (docs/quantization.md)."""


@dataclass(frozen=True, eq=False)
class PreparedModel:
    """A float model made ready for one configuration, and the calibration to apply it with."""

    model: nn.Module
    calibration: Calibration


def post_training(
    model: nn.Module,
    traced: TracedNetwork,
    configuration: BitConfiguration,
    batches: Iterable[tuple[Any, ...]],
    *,
    steps: Sequence[str] = BEST_STEPS,
    rounding: RoundingRecipe | None = None,
    **calibration_options: Any,
) -> nn.Module:
    """A quantized copy of the model after the named steps of post-training quantization.

    As `prepare_post_training` followed by `quantized_copy`; the model is left as it was.
    """
    prepared = prepare_post_training(
        model,
        traced,
        configuration,
        batches,
        steps=steps,
        rounding=rounding,
        **calibration_options,
    )
    return quantized_copy(prepared.model, configuration, prepared.calibration)


def prepare_post_training(
    model: nn.Module,
    traced: TracedNetwork,
    configuration: BitConfiguration,
    batches: Iterable[tuple[Any, ...]],
    *,
    steps: Sequence[str] = BEST_STEPS,
    rounding: RoundingRecipe | None = None,
    **calibration_options: Any,
) -> PreparedModel:
    """Change a copy of the float model so that the configuration costs it least.

    `steps` are names out of `STEPS`: `fold` batch norms, `equalize` consecutive layers, round
    weights by `adaround` (settings in `rounding`), and `bias_correction`; they run in that order,
    and the calibration (with `calibrate`'s options) after the first two. Batches are the inputs of
    calls of the model, and are kept in memory.
    """
    if isinstance(steps, str):
        raise InputError(
            f"steps must be a list of names, such as [{steps!r}], got the text {steps!r}"
        )
    for step in steps:
        if step not in STEPS:
            raise InputError(f"post-training step {step!r} is unknown; {nearest(step, STEPS)}")
    kept = [as_inputs(batch) for batch in batches]
    if not kept:
        raise InputError("post-training quantization needs one batch or more, got none")
    network = traced.description
    if "fold" in steps:
        model = fold_batch_norms(model, traced)
    if "equalize" in steps:
        retraced = read_network(model, kept[0], network.name) if "fold" in steps else traced
        model = equalize_layers(model, retraced)
    calibration = calibrate(model, network, kept, **calibration_options)
    reference = model
    if "adaround" in steps:
        model = round_adaptively(model, network, configuration, calibration, kept, recipe=rounding)
    if "bias_correction" in steps:
        model = correct_biases(
            model, network, configuration, calibration, kept, reference=reference
        )
    return PreparedModel(model, calibration)
