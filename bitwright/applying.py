"""Putting a solution on somebody's own model, for his own training loop."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from torch import nn

from bitwright.networks import as_inputs, read_network
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.formats import read_solution
from bitwright.problems.solution import Solution
from bitwright.quantization import Calibration, calibrate, quantized_copy
from bitwright.quantization.ranges.first_batch import calibrate_weights
from bitwright.quantization.variants import outputs_to_observe

_PRODUCT = re.compile(r"(matmul|attention)(_\d+)?_*")


def quantized_model(
    model: nn.Module,
    answer: Solution | BitConfiguration | str | Path,
    batches: Iterable[tuple[Any, ...]] | None,
    *,
    weight_rule: str,
    activation_rule: str,
    estimator: str,
) -> nn.Module:
    """Return a trainable copy with the answer's bits, calibrated on the batches if there are any."""
    if isinstance(answer, str | Path):
        answer = read_solution(answer)
    if not isinstance(answer, Solution | BitConfiguration):
        raise InputError(
            "what is applied must be a Solution, a BitConfiguration or the path of a solution file, "
            f"got a {type(answer).__name__}"
        )
    configuration = answer.configuration if isinstance(answer, Solution) else answer
    if configuration is None:
        raise InputError(
            "the solution has no configuration to apply; look at its status and explanation"
        )
    if batches is None:
        _require_modules(model, configuration)
        calibration: Calibration = calibrate_weights(
            model, configuration, weight_rule=weight_rule, activation_rule=activation_rule
        )
        return quantized_copy(model, configuration, calibration, estimator=estimator)
    remaining = map(as_inputs, batches)
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


def _require_modules(model: nn.Module, configuration: BitConfiguration) -> None:
    """Refuse layers that functions compute: without a run nobody knows where."""
    modules = dict(model.named_modules())
    for name, precision in configuration.items():
        if precision.is_float32:
            continue
        place, _, last = name.rpartition(".")
        outer = modules.get(place)
        of_attention = isinstance(outer, nn.MultiheadAttention)  # which calls no module in it
        is_parameter = isinstance(getattr(outer, last, None), nn.Parameter)
        if of_attention or is_parameter or (outer and _PRODUCT.fullmatch(last)):
            raise InputError(
                f"layer {name!r} is computed by a function; give batches, so that the network is "
                "run and read"
            )
