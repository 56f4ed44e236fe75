"""Taking a quantized model apart: a float model to draw the graph from, and each layer's codes and grids."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitwright.networks import TRANSPOSED, TracedNetwork, evaluation_mode, layers_of, read_network
from bitwright.networks.nonlinear import nonlinear_preactivations
from bitwright.networks.norms import plan_folding
from bitwright.problems.errors import InputError
from bitwright.quantization.apply import INPUT_QUANTIZER, AppliedQuantizers, applied_quantizers
from bitwright.quantization.export.codes import CodedWeight, FactoredWeight, coded
from bitwright.quantization.export.marks import grid_at, mark_output
from bitwright.quantization.grids import QuantizationGrid
from bitwright.quantization.low_rank import LowRankWeight
from bitwright.quantization.ptq.folding import affine_of, fold_into, without_norms
from bitwright.quantization.quantizers import (
    DynamicQuantizer,
    FloatQuantizer,
    OperandQuantizers,
    Quantizer,
)
from bitwright.quantization.variants import output_quantizers, without_output_quantizers

DYNAMIC_BITS = 8
"""Width of the one range that ONNX finds anew in each run (`DynamicQuantizeLinear`)."""


@dataclass(frozen=True)
class DynamicRange:
    """An input that is rounded to 8 bits, unsigned, over its own extremes."""


@dataclass(frozen=True, eq=False)
class LayerParts:
    """What a layer stores and how it reads its input; None for a side that stays in float32.

    A floating-point type stands for a side that is rounded to it. `output` is the grid that the
    layer's output is rounded to before a nonlinear activation reads it, if it is.
    """

    name: str
    weight: CodedWeight | FactoredWeight | torch.dtype | None
    input: QuantizationGrid | DynamicRange | torch.dtype | None
    output: QuantizationGrid | None = None


@dataclass(frozen=True, eq=False)
class NetworkParts:
    """A float model without quantizers, whose layers hold the quantized weights, and their parts.

    `norms` names the layers whose batch norm was folded, with the norm. `outputs` are the grids of
    the tensors that the model marks in an export (`marks_in`), by the layer that they belong to.
    """

    model: nn.Module
    inputs: tuple[Any, ...]
    layers: Mapping[str, LayerParts]
    norms: Mapping[str, str]
    outputs: Mapping[str, QuantizationGrid]


def take_apart(
    model: nn.Module, inputs: tuple[Any, ...], *, fold_norms: bool = True
) -> NetworkParts:
    """Take a copy of a quantized model apart, in evaluation mode; `inputs` are for one run.

    Codes are those of the weights as the model uses them, however they were rounded. Folding a
    batch norm leaves them as they are and goes into the scales and the bias, so that the folded
    layer computes what layer and norm did. Raises `InputError` for a model that is not quantized
    and for weights that lie on no grid.
    """
    applied = applied_quantizers(model)
    if not applied:
        raise InputError("the model is not quantized: apply a configuration to it first")
    if computed := next((m for m in model.modules() if isinstance(m, OperandQuantizers)), None):
        raise InputError(
            f"layer {computed.layer!r} is computed by a function, which no export shows yet; "
            "export a configuration that leaves it in float32 (w32a32)"
        )
    rounded = output_quantizers(model)
    with evaluation_mode(model), torch.no_grad():
        parts = {name: _parts(model, name, found) for name, found in applied.items()}
        twin = _without_quantizers(model, applied)
    norms: Mapping[str, str] = {}
    outputs: dict[str, QuantizationGrid] = {}
    if fold_norms or rounded:
        traced = read_network(twin, inputs, type(model).__name__)
        layers = {module: layer for layer, module in nonlinear_preactivations(traced).items()}
        if fold_norms:
            norms = _fold_norms(twin, traced, parts)
        for module, quantizer in rounded.items():
            layer = layers.get(module, module)
            mark_output(twin, module, layer, quantizer)
            outputs[layer] = grid_at(layer, "output", quantizer)
            if layer in parts:
                parts[layer] = replace(parts[layer], output=outputs[layer])
    return NetworkParts(twin, inputs, parts, norms, outputs)


def _parts(model: nn.Module, name: str, found: AppliedQuantizers) -> LayerParts:
    layer = layers_of(model, [name])[name]
    return LayerParts(name, _weight(name, layer, found.weight), _input(name, found.input))


def _weight(
    name: str, layer: nn.Module, quantizer: Quantizer | None
) -> CodedWeight | FactoredWeight | torch.dtype | None:
    if quantizer is None:
        return None
    if isinstance(quantizer, FloatQuantizer):
        return quantizer.dtype
    if isinstance(quantizer, LowRankWeight):
        if quantizer.left is None or quantizer.right is None:
            raise InputError(
                f"layer {name!r}: its factors of rank {quantizer.rank} are in float32; exports "
                "take factors in codes"
            )
        original = layer.get_parameter("parametrizations.weight.original")
        left, right = quantizer.factors(original)
        return FactoredWeight(
            coded(name, left, quantizer.left.grid), coded(name, right, quantizer.right.grid)
        )
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return coded(name, weight, grid_at(name, "weight", quantizer))


def _input(
    name: str, quantizer: Quantizer | None
) -> QuantizationGrid | DynamicRange | torch.dtype | None:
    if quantizer is None:
        return None
    if isinstance(quantizer, FloatQuantizer):
        return quantizer.dtype
    if isinstance(quantizer, DynamicQuantizer):
        if (quantizer.bits, quantizer.scheme) == (DYNAMIC_BITS, "affine"):
            return DynamicRange()
        raise InputError(
            f"layer {name!r}: its input has a dynamic range, {quantizer.scheme} in {quantizer.bits} "
            f"bits; ONNX finds ranges in a run only affine in {DYNAMIC_BITS} bits"
        )
    grid = grid_at(name, "input", quantizer)
    if grid.channel_axis is not None:
        raise InputError(
            f"layer {name!r}: its input has a scale per channel; exports hold one for the tensor"
        )
    return grid


def _without_quantizers(model: nn.Module, applied: Mapping[str, AppliedQuantizers]) -> nn.Module:
    """A float copy whose layers hold the weights that the quantized model computes with."""
    twin = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    for layer in layers_of(twin, applied).values():
        if parametrize.is_parametrized(layer):
            weight = layer.weight.detach().clone()
            # Not `remove_parametrizations`: it edits the class that copies of the layer share.
            layer.__class__ = parametrize.type_before_parametrizations(layer)
            del layer.parametrizations
            layer.weight = nn.Parameter(weight, requires_grad=False)
        if INPUT_QUANTIZER in layer._modules:
            layer._modules[INPUT_QUANTIZER] = nn.Identity()
    without_output_quantizers(twin)
    return twin


def _fold_norms(
    model: nn.Module, traced: TracedNetwork, parts: dict[str, LayerParts]
) -> Mapping[str, str]:
    """Fold in place whatever batch norm can be, of quantized and of float layers."""
    folds = plan_folding(model, traced, into_scales=True).folds
    for name, layer in layers_of(model, folds).items():
        norm, part = model.get_submodule(folds[name]), parts.get(name)
        if part is None or not isinstance(part.weight, CodedWeight | FactoredWeight):
            fold_into(layer, norm)
            continue
        factor, offset = affine_of(norm, layer.bias)
        axis = 1 if isinstance(layer, TRANSPOSED) else 0
        weight = part.weight.times(factor.float().numpy(), axis)
        parts[name] = replace(part, weight=weight)
        layer.weight = nn.Parameter(torch.from_numpy(weight.values), requires_grad=False)
        layer.bias = nn.Parameter(offset.float(), requires_grad=False)
    without_norms(model, folds.values())
    return folds
