"""Observing what layers read, while a calibration runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import Tensor, nn

from bitwright.networks import Layer, evaluation_mode, failures_reported
from bitwright.problems.errors import MeasurementError
from bitwright.problems.network import FunctionCall
from bitwright.quantization.functions import INPUT, follow_functions
from bitwright.quantization.ranges.observers import ObservedValues, Observer


def observe_inputs(
    model: nn.Module,
    network: str,
    layers: Mapping[str, Layer],
    functions: Mapping[str, FunctionCall],
    batches: Iterable[tuple[Any, ...]],
) -> dict[tuple[str, str], ObservedValues]:
    """What the layers read, by layer and operand; modules have their input alone."""
    observers: dict[tuple[str, str], Observer] = {}

    def observe(layer: str, operand: str, tensor: Tensor) -> Tensor:
        try:
            observers.setdefault((layer, operand), Observer()).update(tensor)
        except ValueError as error:
            raise MeasurementError(f"layer {layer!r}: its {operand} holds {error}") from error
        return tensor

    def before(layer: str, _: nn.Module, args: Any, kwargs: Any) -> None:
        observe(layer, INPUT, args[0] if args else kwargs["input"])

    with ExitStack() as undo, evaluation_mode(model):
        for name, layer in layers.items():
            hook = partial(before, name)
            undo.callback(layer.register_forward_pre_hook(hook, with_kwargs=True).remove)
        followed = {name: (call, partial(observe, name)) for name, call in functions.items()}
        follow_functions(model, followed, undo)
        for inputs in batches:
            with failures_reported(network, inputs):
                model(*inputs)
    results = {key: observer.result() for key, observer in observers.items()}
    return {key: observed for key, observed in results.items() if observed is not None}
