"""Running a model at a bit configuration, without editing the model."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

from torch import nn
from torch.nn.utils import parametrize

from bitwright.networks import Layer, layers_of
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.quantization.calibration import Calibration
from bitwright.quantization.qat.estimators import estimator_named, trained_by
from bitwright.quantization.quantizers import IntegerQuantizer, Quantizer, layer_quantizers
from bitwright.quantization.ranges.first_batch import FirstBatchCalibration, FirstBatchQuantizer
from bitwright.quantization.variants import quantize_output, variant_quantizers

INPUT_QUANTIZER = "input_quantizer"
"""Name of the submodule that quantizes the input of its layer."""


class AppliedConfiguration:
    """A configuration at work on a model, until `remove` or the end of a `with` block."""

    def __init__(self, configuration: BitConfiguration, undo: ExitStack) -> None:
        self.configuration = configuration
        self._undo = undo

    def remove(self) -> None:
        """Give the model back in float32, as it was but for what was trained; once is enough."""
        self._undo.close()

    def __enter__(self) -> AppliedConfiguration:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def apply_configuration(
    model: nn.Module,
    configuration: BitConfiguration,
    calibration: Calibration,
    *,
    estimator: str = "ste",
) -> AppliedConfiguration:
    """Quantize the weights and inputs of the configuration's layers, in place.

    Layers that it leaves out stay in float32. Gradients reach the original weights, by the named
    estimator (see `bitwright.quantization.qat.estimators`), so the model can be trained meanwhile.
    Refuses a model that is quantized already, and unknown layers and estimators.
    """
    makers = estimator_named(estimator)
    if any(isinstance(module, Quantizer) for module in model.modules()):
        raise InputError("the model is already quantized; remove that configuration first")
    # What stays in float32 need not be a module, such as a product of activations.
    layers = layers_of(model, [name for name, p in configuration.items() if not p.is_float32])
    quantizers = {
        name: layer_quantizers(name, precision, calibration)
        for name, precision in configuration.items()
    }
    variants = {
        name: variant_quantizers(name, precision, calibration)
        for name, precision in configuration.items()
    }
    with ExitStack() as undo:
        for name, layer in layers.items():
            variant_weight, output_quantizer = variants[name]
            weight_quantizer = variant_weight or trained_by(makers.weight, quantizers[name][0])
            input_quantizer = trained_by(makers.activation, quantizers[name][1])
            if isinstance(calibration, FirstBatchCalibration) and isinstance(
                input_quantizer, IntegerQuantizer
            ):
                bits = configuration[name].activation_bits
                input_quantizer = FirstBatchQuantizer(input_quantizer, calibration, name, bits)
            if weight_quantizer is not None:
                _quantize_weight(name, layer, weight_quantizer, undo)
            if input_quantizer is not None:
                _quantize_input(layer, input_quantizer, undo)
            if output_quantizer is not None:
                observed = calibration.outputs[name]
                quantize_output(model.get_submodule(observed.module), output_quantizer, undo)
        return AppliedConfiguration(configuration, undo.pop_all())


def quantized_copy(
    model: nn.Module,
    configuration: BitConfiguration,
    calibration: Calibration,
    *,
    estimator: str = "ste",
) -> nn.Module:
    """An independent copy of the model with the configuration applied, to be trained (QAT).

    Batch norms are kept as modules and are not folded.
    """
    twin = copy.deepcopy(model)
    apply_configuration(twin, configuration, calibration, estimator=estimator)
    return twin


@dataclass(frozen=True, eq=False)
class AppliedQuantizers:
    """The quantizers at work on one layer; None for a side that stays in float32."""

    weight: Quantizer | None
    input: Quantizer | None


def applied_quantizers(model: nn.Module) -> dict[str, AppliedQuantizers]:
    """The quantizers of a quantized model, by layer, in their present state; empty for a float one."""
    found = {}
    for name, module in model.named_modules():
        weight = None
        if parametrize.is_parametrized(module, "weight"):
            quantizer = module.parametrizations.weight[0]
            weight = quantizer if isinstance(quantizer, Quantizer) else None
        input_ = module._modules.get(INPUT_QUANTIZER)
        if weight is not None or input_ is not None:
            found[name] = AppliedQuantizers(weight, cast("Quantizer | None", input_))
    return found


def _quantize_weight(name: str, layer: Layer, quantizer: Quantizer, undo: ExitStack) -> None:
    plain, order = type(layer), list(layer._parameters)
    if "weight" not in order or parametrize.is_parametrized(layer):
        raise InputError(
            f"layer {name!r}: its weight is computed (weight norm, a parametrization); "
            "make it a plain parameter first"
        )
    parametrize.register_parametrization(layer, "weight", quantizer.to(layer.weight.device))

    def restore() -> None:
        # Not `remove_parametrizations`: it edits the class that copies of the layer share, and
        # puts the weight behind the bias.
        weight = layer.get_parameter("parametrizations.weight.original")
        layer.__class__ = plain
        del layer.parametrizations
        layer.weight = weight
        for key in order:
            layer._parameters[key] = layer._parameters.pop(key)

    undo.callback(restore)


def _quantize_input(layer: Layer, quantizer: Quantizer, undo: ExitStack) -> None:
    layer.add_module(INPUT_QUANTIZER, quantizer.to(layer.weight.device))
    undo.callback(layer._modules.pop, INPUT_QUANTIZER)
    # The hook finds the quantizer through the layer, so that it works in copies of the model.
    handle = layer.register_forward_pre_hook(_with_quantized_input, with_kwargs=True)
    undo.callback(handle.remove)


def _with_quantized_input(
    layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    quantizer = layer.get_submodule(INPUT_QUANTIZER)
    if args:
        return (quantizer(args[0]), *args[1:]), kwargs
    return args, {**kwargs, "input": quantizer(kwargs["input"])}
