"""Quantizing weights where they are: a parametrization of the attribute that holds the Parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitwright.problems.errors import InputError
from bitwright.quantization.quantizers import Quantizer


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """The weight of a layer as it is trained, and the quantizer that it goes through."""

    layer: str
    original: Tensor
    quantizer: Quantizer


def quantize_weights(
    model: nn.Module, quantizers: Mapping[str, Quantizer | None], undo: ExitStack
) -> None:
    """Quantize the Parameters of these names until `undo` is closed; None leaves one in float32.

    Raises `InputError` where a weight is computed from other Parameters.
    """
    by_module: dict[str, dict[str, Quantizer]] = {}
    for name, quantizer in quantizers.items():
        module, _, attribute = name.rpartition(".")
        if quantizer is not None:
            by_module.setdefault(module, {})[attribute] = quantizer
    for name, of_module in by_module.items():
        _quantize(name, model.get_submodule(name), of_module, undo)


def quantized_weights(model: nn.Module) -> Iterator[QuantizedWeight]:
    """The quantized weights of a model, in the order of its modules."""
    for name, module in model.named_modules():
        yield from quantized_weights_in(name, module)


def quantized_weights_in(name: str, module: nn.Module) -> Iterator[QuantizedWeight]:
    """The quantized weights that a module of this name holds itself."""
    if not parametrize.is_parametrized(module):
        return
    for attribute, steps in module.get_submodule("parametrizations").named_children():
        quantizer = steps.get_submodule("0")
        if isinstance(quantizer, Quantizer):
            original = steps.get_parameter("original")
            yield QuantizedWeight(_layer(name, attribute), original, quantizer)


def _layer(module: str, attribute: str) -> str:
    """The layer of a weight, named as by `bitwright.networks`."""
    return f"{module}.{attribute}".removesuffix(".weight").lstrip(".")


def _quantize(
    name: str, module: nn.Module, quantizers: Mapping[str, Quantizer], undo: ExitStack
) -> None:
    plain, order = type(module), list(module._parameters)
    for attribute in quantizers:
        if attribute not in order or parametrize.is_parametrized(module):
            raise InputError(
                f"layer {_layer(name, attribute)!r}: its weight is computed (weight norm, a "
                "parametrization); make it a plain parameter first"
            )
    for attribute, quantizer in quantizers.items():
        at = getattr(module, attribute).device
        parametrize.register_parametrization(module, attribute, quantizer.to(at))

    def restore() -> None:
        # Not `remove_parametrizations`: it edits the class that copies of the module share, and
        # puts the weights behind the other parameters.
        originals = {
            attribute: module.get_parameter(f"parametrizations.{attribute}.original")
            for attribute in quantizers
        }
        module.__class__ = plain
        del module.parametrizations
        for attribute, weight in originals.items():
            module.register_parameter(attribute, weight)
        for key in order:
            module._parameters[key] = module._parameters.pop(key)

    undo.callback(restore)
