"""Observing what chosen modules put out, while a calibration runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from bitwright.problems.errors import MeasurementError
from bitwright.quantization.ranges.observers import ObservedValues, Observer


@dataclass(frozen=True, eq=False)
class ObservedOutput:
    """The values that leave a layer, seen at the output of `module`: itself, or its batch norm."""

    module: str
    values: ObservedValues


@contextmanager
def observed_outputs(
    model: nn.Module, modules: Mapping[str, str]
) -> Iterator[dict[str, ObservedOutput]]:
    """Observe, for each layer named, the output of its module until the end of the block.

    The mapping that is given is filled at the end. NaN and infinity are a `MeasurementError`.
    """
    observers = {layer: Observer() for layer in modules}
    found: dict[str, ObservedOutput] = {}
    with ExitStack() as hooks:
        for layer, module in modules.items():
            hook = partial(_observe, layer, observers[layer])
            hooks.callback(model.get_submodule(module).register_forward_hook(hook).remove)
        yield found
    for layer, observer in observers.items():
        if (values := observer.result()) is not None:
            found[layer] = ObservedOutput(modules[layer], values)


def _observe(layer: str, observer: Observer, _: nn.Module, _args: Any, output: Any) -> None:
    try:
        observer.update(output)
    except ValueError as error:
        raise MeasurementError(f"layer {layer!r}: its output holds {error}") from error
