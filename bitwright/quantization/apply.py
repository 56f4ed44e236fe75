"""Running a model at a bit configuration, without editing the model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

from torch import nn

from bitwright.networks import Layer, layers_of
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.network import FunctionCall
from bitwright.quantization.calibration import Calibration
from bitwright.quantization.functions import INPUT, follow_functions
from bitwright.quantization.qat.estimators import estimator_named, trained_by
from bitwright.quantization.quantizers import (
    IntegerQuantizer,
    OperandQuantizers,
    Quantizer,
    layer_quantizers,
    operand_quantizers,
    weight_quantizer,
)
from bitwright.quantization.ranges.first_batch import FirstBatchCalibration, FirstBatchQuantizer
from bitwright.quantization.variants import quantize_output, variant_quantizers
from bitwright.quantization.weights import quantize_weights, quantized_weights_in

INPUT_QUANTIZER = "input_quantizer"
"""Name of the submodule that quantizes the input of its layer."""

OPERAND_QUANTIZERS = "operand_quantizers"
"""Names of submodules that quantize what a function reads begin so."""


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
    chosen = {name: p for name, p in configuration.items() if not p.is_float32}
    functions = {n: calibration.functions[n] for n in chosen if n in calibration.functions}
    layers = layers_of(model, [name for name in chosen if name not in functions])
    quantizers = {
        name: layer_quantizers(name, precision, calibration)
        for name, precision in configuration.items()
        if name not in calibration.functions
    }
    variants = {n: variant_quantizers(n, p, calibration) for n, p in configuration.items()}
    with ExitStack() as undo:
        weights: dict[str, Quantizer | None] = {}
        for name, layer in layers.items():
            variant_weight, output_quantizer = variants[name]
            weights[f"{name}.weight"] = variant_weight or trained_by(
                makers.weight, quantizers[name][0]
            )
            input_quantizer = trained_by(makers.activation, quantizers[name][1])
            if isinstance(calibration, FirstBatchCalibration) and isinstance(
                input_quantizer, IntegerQuantizer
            ):
                bits = configuration[name].activation_bits
                input_quantizer = FirstBatchQuantizer(input_quantizer, calibration, name, bits)
            if input_quantizer is not None:
                _quantize_input(layer, input_quantizer, undo)
            if output_quantizer is not None:
                observed = calibration.outputs[name]
                quantize_output(model.get_submodule(observed.module), output_quantizer, undo)
        operands: dict[str, OperandQuantizers] = {}
        for name, call in functions.items():
            if call.parameter:
                weight = weight_quantizer(name, chosen[name], calibration)
                weights[call.parameter] = trained_by(makers.weight, weight)
            found = operand_quantizers(name, chosen[name], calibration)
            operands[name] = OperandQuantizers(
                name, {key: trained_by(makers.activation, q) for key, q in found.items()}
            )
        quantize_weights(model, weights, undo)
        _quantize_operands(model, functions, operands, undo)
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
    """The quantizers at work on one layer; None for a side that stays in float32.

    `operands` are those of what a function reads besides its input, such as the right operand of a
    product of activations, by the names of `bitwright.quantization.functions`.
    """

    weight: Quantizer | None
    input: Quantizer | None
    operands: Mapping[str, Quantizer] = field(default_factory=dict)


def applied_quantizers(model: nn.Module) -> dict[str, AppliedQuantizers]:
    """The quantizers of a quantized model, by layer, in their present state; empty for a float one."""
    weights: dict[str, Quantizer] = {}
    read: dict[str, dict[str, Quantizer]] = {}
    for name, module in model.named_modules():
        for weight in quantized_weights_in(name, module):
            weights[weight.layer] = weight.quantizer
            read.setdefault(weight.layer, {})
        if isinstance(module, OperandQuantizers):
            read.setdefault(module.layer, {}).update(module.quantizers)
        elif (input_ := module._modules.get(INPUT_QUANTIZER)) is not None:
            read.setdefault(name, {})[INPUT] = cast("Quantizer", input_)
    return {
        layer: AppliedQuantizers(weights.get(layer), operands.pop(INPUT, None), operands)
        for layer, operands in read.items()
    }


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


def _quantize_operands(
    model: nn.Module,
    functions: Mapping[str, FunctionCall],
    operands: Mapping[str, OperandQuantizers],
    undo: ExitStack,
) -> None:
    """Put the quantizers of functions' operands into the modules that call them, and follow these."""
    tensor = next(model.parameters(), None)
    for name, quantizers in operands.items():
        module = model.get_submodule(functions[name].module)
        key = f"{OPERAND_QUANTIZERS}/{name.replace('.', '/')}"
        module.add_module(key, quantizers if tensor is None else quantizers.to(tensor.device))
        undo.callback(module._modules.pop, key)
    followed = {name: (functions[name], operands[name].change) for name in functions}
    follow_functions(model, followed, undo)
