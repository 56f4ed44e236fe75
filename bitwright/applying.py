"""Putting a solution on somebody's own model, for his own training loop."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from torch import nn

from bitwright.networks import read_network
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.solution import Solution
from bitwright.quantization import Calibration, calibrate, quantized_copy
from bitwright.quantization.ranges.first_batch import calibrate_weights
from bitwright.quantization.variants import outputs_to_observe


def quantized_model(
    model: nn.Module,
    answer: Solution | BitConfiguration,
    batches: Iterable[tuple[Any, ...]] | None,
    *,
    weight_rule: str,
    activation_rule: str,
    estimator: str,
) -> nn.Module:
    """Return a trainable copy with the answer's bits, calibrated on the batches if there are any."""
    configuration = answer.configuration if isinstance(answer, Solution) else answer
    if configuration is None:
        raise InputError(
            "the solution has no configuration to apply; look at its status and explanation"
        )
    if batches is None:
        calibration: Calibration = calibrate_weights(
            model, configuration, weight_rule=weight_rule, activation_rule=activation_rule
        )
        return quantized_copy(model, configuration, calibration, estimator=estimator)
    remaining = iter(batches)
    first = next(remaining, None)
    if first is None:
        raise InputError(
            "batches is empty; one batch or more is needed to find the ranges of activations"
        )
    traced = read_network(model, first, type(model).__name__)
    calibration = calibrate(
        model,
        traced.description,
        chain([first], remaining),
        weight_rule=weight_rule,
        activation_rule=activation_rule,
        observe_outputs=outputs_to_observe(traced, configuration),
    )
    return quantized_copy(model, configuration, calibration, estimator=estimator)
