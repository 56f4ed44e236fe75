"""Families of variants: for which layers each is there, and how it is carried out.

A new variant of a choice is a label in `bitwright.problems.variants`, which also says what it costs,
and a family here. Removing a configuration undoes whatever its quantizers did.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from bitwright.networks import TracedNetwork
from bitwright.networks.nonlinear import nonlinear_preactivations
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.network import LayerDescription
from bitwright.problems.precision import Precision
from bitwright.problems.variants import (
    BFLOAT16,
    FLOAT16,
    HYBRID,
    INTEGER,
    activation_form,
    matrix_shape,
    most_useful_rank,
    svd_rank,
)
from bitwright.quantization.calibration import Calibration
from bitwright.quantization.low_rank import low_rank_weight
from bitwright.quantization.quantizers import GridQuantizer, Quantizer

OUTPUT_QUANTIZER = "output_quantizer"
"""Name of the submodule that quantizes the output of its module."""

Maker = Callable[[str, Precision, Calibration], Quantizer]
Availability = Callable[[LayerDescription, Precision, Collection[str]], bool]


@dataclass(frozen=True)
class VariantFamily:
    """One way of taking bits.

    `available(layer, precision, nonlinear)` says whether a layer can take it, where `nonlinear` names
    the layers that a nonlinear activation follows. `weight` makes the quantizer that replaces the
    plain one of the weight, `output` one for the tensor that leaves the layer; None for neither.
    """

    label: str
    available: Availability
    weight: Maker | None = None
    output: Maker | None = None


def _everywhere(_layer: LayerDescription, _precision: Precision, _: Collection[str]) -> bool:
    return True


def _before_nonlinear(
    layer: LayerDescription, _precision: Precision, nonlinear: Collection[str]
) -> bool:
    return layer.name in nonlinear


def _where_smaller(layer: LayerDescription, precision: Precision, _: Collection[str]) -> bool:
    shape, rank = matrix_shape(layer), svd_rank(precision.variant)
    return shape is not None and rank is not None and rank <= most_useful_rank(*shape)


def _output_quantizer(layer: str, precision: Precision, calibration: Calibration) -> Quantizer:
    """Rounds the values that the nonlinear activation reads, on a grid made as those of inputs."""
    observed = calibration.outputs.get(layer)
    if observed is None:
        raise InputError(
            f"layer {layer!r}: {precision} rounds its output, whose range was not observed; "
            "calibrate with observe_outputs=nonlinear_preactivations(traced)"
        )
    of_outputs = replace(calibration, inputs={layer: observed.values})
    return GridQuantizer(of_outputs.activation_grid(layer, precision.activation_bits))


FAMILIES = (
    VariantFamily("", _everywhere),
    VariantFamily(FLOAT16, _everywhere),
    VariantFamily(BFLOAT16, _everywhere),
    VariantFamily(HYBRID, _before_nonlinear),
    VariantFamily(INTEGER, _before_nonlinear, output=_output_quantizer),
    VariantFamily("svd-K", _where_smaller, weight=low_rank_weight),
)
_BY_LABEL: Mapping[str, VariantFamily] = {family.label: family for family in FAMILIES}


def families_of(precision: Precision) -> tuple[VariantFamily, ...]:
    """The families of a precision's variant, two for `svd-K+hybrid`; `InputError` for one of none."""
    if svd_rank(precision.variant):
        return _BY_LABEL["svd-K"], _BY_LABEL[activation_form(precision.variant)]
    if precision.variant not in _BY_LABEL:
        known = [family.label for family in FAMILIES if family.label]
        raise InputError(
            f"variant {precision.variant!r} of {precision} is unknown; "
            f"{nearest(precision.variant, known)}"
        )
    return (_BY_LABEL[precision.variant],)


def is_available(layer: LayerDescription, precision: Precision, nonlinear: Collection[str]) -> bool:
    """Whether the layer can take the precision; `nonlinear`: see `VariantFamily`."""
    return all(f.available(layer, precision, nonlinear) for f in families_of(precision))


def outputs_to_observe(traced: TracedNetwork, configuration: BitConfiguration) -> dict[str, str]:
    """What calibration must see beside inputs for a configuration: modules by layer.

    Raises `InputError` for a layer whose output is to be rounded before a nonlinear activation, and
    that none follows.
    """
    rounded = [name for name, p in configuration.items() if any(f.output for f in families_of(p))]
    modules = nonlinear_preactivations(traced) if rounded else {}
    for name in rounded:
        if name not in modules:
            raise InputError(
                f"layer {name!r}: {configuration[name]} is for layers before a nonlinear "
                "activation, and none follows this one"
            )
    return {name: modules[name] for name in rounded}


def variant_quantizers(
    layer: str, precision: Precision, calibration: Calibration
) -> tuple[Quantizer | None, Quantizer | None]:
    """What the variant puts in the place of the plain weight quantizer, and on the layer's output."""
    weight: Quantizer | None = None
    output: Quantizer | None = None
    for family in families_of(precision):
        if layer in calibration.functions and (family.weight or family.output):
            raise InputError(
                f"layer {layer!r}: {precision} is for modules, and a function computes this layer"
            )
        if family.weight is not None:
            weight = family.weight(layer, precision, calibration)
        if family.output is not None:
            output = family.output(layer, precision, calibration)
    return weight, output


def output_quantizers(model: nn.Module) -> dict[str, Quantizer]:
    """The quantizers at work on outputs, by the module whose output they round."""
    found = {}
    for name, module in model.named_modules():
        quantizer = module._modules.get(OUTPUT_QUANTIZER)
        if isinstance(quantizer, Quantizer):
            found[name] = quantizer
    return found


def without_output_quantizers(model: nn.Module) -> None:
    """Round no output any more: for copies of a model, which no configuration can be removed from."""
    for name in output_quantizers(model):
        module = model.get_submodule(name)
        del module._modules[OUTPUT_QUANTIZER]
        for key, hook in list(module._forward_hooks.items()):
            if hook is _with_quantized_output:
                del module._forward_hooks[key]


def quantize_output(module: nn.Module, quantizer: Quantizer, undo: ExitStack) -> None:
    """Round what the module puts out, until `undo` is closed."""
    tensor = next(module.parameters(), None)
    module.add_module(
        OUTPUT_QUANTIZER, quantizer if tensor is None else quantizer.to(tensor.device)
    )
    undo.callback(module._modules.pop, OUTPUT_QUANTIZER)
    # The hook finds the quantizer through the module, so that it works in copies of the model.
    handle = module.register_forward_hook(_with_quantized_output)
    undo.callback(handle.remove)


def _with_quantized_output(module: nn.Module, _args: Any, output: Tensor) -> Tensor:
    rounded: Tensor = module.get_submodule(OUTPUT_QUANTIZER)(output)
    return rounded
