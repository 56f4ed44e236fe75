"""Taking a quantized model apart: a float model to draw the graph from, and each layer's codes and grids."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitwright.networks import TracedNetwork, evaluation_mode, layers_of, read_network
from bitwright.networks.storage import folding_norm
from bitwright.problems.errors import InputError
from bitwright.quantization.apply import INPUT_QUANTIZER, AppliedQuantizers, applied_quantizers
from bitwright.quantization.channels import layer_modules
from bitwright.quantization.grids import QuantizationGrid
from bitwright.quantization.quantizers import FloatQuantizer, OperandQuantizers, Quantizer
from bitwright.quantization.variants import output_quantizers

_OFF_GRID = 0.01
"""Share of a step by which a weight may miss its level: float32 rounding, nothing else."""


@dataclass(frozen=True, eq=False)
class CodedWeight:
    """Integer codes in the weight's shape (int32), and the grid that they index.

    The value of a code is `scale * (code - zero_point)`; scale (float32) and zero point (int32)
    have shape () or (channels,), along `channel_axis`.
    """

    codes: NDArray[np.int32]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]
    quant_min: int
    quant_max: int
    channel_axis: int | None

    @property
    def values(self) -> NDArray[np.float32]:
        """The weights that the codes stand for."""
        scale, zero_point = self.scale, self.zero_point
        if self.channel_axis is not None:
            shape = [1] * self.codes.ndim
            shape[self.channel_axis] = -1
            scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
        return ((self.codes - zero_point).astype(np.float32) * scale).astype(np.float32)


@dataclass(frozen=True, eq=False)
class LayerParts:
    """What a layer stores and how it reads its input; None for a side that stays in float32.

    A floating-point type stands for a side that is rounded to it.
    """

    name: str
    weight: CodedWeight | torch.dtype | None
    input: QuantizationGrid | torch.dtype | None


@dataclass(frozen=True, eq=False)
class NetworkParts:
    """A float model without quantizers, whose layers hold the quantized weights, and their parts.

    `norms` names the layers whose batch norm was folded, with the norm.
    """

    model: nn.Module
    inputs: tuple[Any, ...]
    layers: Mapping[str, LayerParts]
    norms: Mapping[str, str]


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
    if rounded := next(iter(output_quantizers(model)), None):
        raise InputError(
            f"the output of {rounded!r} is rounded (variant 'integer'), which no export shows yet; "
            "export a configuration with 'hybrid' or plain precisions"
        )
    if computed := next((m for m in model.modules() if isinstance(m, OperandQuantizers)), None):
        raise InputError(
            f"layer {computed.layer!r} is computed by a function, which no export shows yet; "
            "export a configuration that leaves it in float32 (w32a32)"
        )
    with evaluation_mode(model), torch.no_grad():
        parts = {name: _parts(model, name, found) for name, found in applied.items()}
        twin = _without_quantizers(model, applied)
    norms: dict[str, str] = {}
    if fold_norms:
        traced = read_network(twin, inputs, type(model).__name__)
        norms = _fold_norms(twin, traced, parts)
    return NetworkParts(twin, inputs, parts, norms)


def _parts(model: nn.Module, name: str, found: AppliedQuantizers) -> LayerParts:
    weight: CodedWeight | torch.dtype | None = None
    side = _side(name, "weight", found.weight)
    if isinstance(side, QuantizationGrid):
        weight = _coded(name, layers_of(model, [name])[name].weight.detach(), side)
    else:
        weight = side
    return LayerParts(name, weight, _side(name, "input", found.input))


def _side(
    layer: str, side: str, quantizer: Quantizer | None
) -> QuantizationGrid | torch.dtype | None:
    if quantizer is None:
        return None
    if isinstance(quantizer, FloatQuantizer):
        return quantizer.dtype
    grid = getattr(quantizer, "grid", None)
    if not isinstance(grid, QuantizationGrid):
        raise InputError(
            f"layer {layer!r}: its {side} has no fixed grid ({type(quantizer).__name__}), "
            "so that it cannot be exported"
        )
    if side == "input" and grid.channel_axis is not None:
        raise InputError(
            f"layer {layer!r}: its input has a scale per channel; exports hold one for the tensor"
        )
    return grid


def _coded(layer: str, weight: Tensor, grid: QuantizationGrid) -> CodedWeight:
    values = weight.cpu().double().numpy()
    scale = grid.scale.detach().cpu().float().numpy()
    zero_point = grid.zero_point.detach().cpu().to(torch.int32).numpy()
    shape = [1] * values.ndim
    if grid.channel_axis is not None:
        shape[grid.channel_axis] = -1
    position = values / scale.astype(np.float64).reshape(shape) + zero_point.reshape(shape)
    codes = np.rint(position)
    if np.abs(position - codes).max(initial=0.0) > _OFF_GRID or not (
        grid.quant_min <= codes.min(initial=grid.quant_max)
        and codes.max(initial=grid.quant_min) <= grid.quant_max
    ):
        raise InputError(
            f"layer {layer!r}: its weights do not lie on their grid; a blend of float and "
            "quantized weights cannot be exported"
        )
    return CodedWeight(
        codes.astype(np.int32),
        scale,
        zero_point,
        grid.quant_min,
        grid.quant_max,
        grid.channel_axis,
    )


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
    return twin


def _fold_norms(
    model: nn.Module, traced: TracedNetwork, parts: dict[str, LayerParts]
) -> dict[str, str]:
    """Fold in place whatever batch norm can be, of quantized and of float layers."""
    folded: dict[str, str] = {}
    for name, layer in layer_modules(model, traced.description.quantizable_names).items():
        rank = len(traced.description[name].output_shape)
        norm_name = folding_norm(model, traced.graph, name, rank)
        if norm_name is None:
            continue
        factor, bias = _affine_of(model.get_submodule(norm_name), layer.bias)
        axis = 1 if isinstance(layer, nn.modules.conv._ConvTransposeNd) else 0
        part = parts.get(name)
        if part is not None and isinstance(part.weight, CodedWeight):
            weight = _times(part.weight, factor.numpy(), axis)
            parts[name] = replace(part, weight=weight)
            layer.weight = nn.Parameter(torch.from_numpy(weight.values), requires_grad=False)
        else:
            shape = [1] * layer.weight.ndim
            shape[axis] = -1
            layer.weight = nn.Parameter(layer.weight * factor.reshape(shape), requires_grad=False)
        layer.bias = nn.Parameter(bias, requires_grad=False)
        parent, _, child = norm_name.rpartition(".")
        model.get_submodule(parent)._modules[child] = nn.Identity()
        folded[name] = norm_name
    return folded


def _affine_of(norm: nn.Module, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Factor and offset per channel that the norm (and the bias before it) amount to."""
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    factor = (variance.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.double()
    offset = ((0 if bias is None else bias.double()) - mean.double()) * factor
    if norm.bias is not None:
        offset = offset + norm.bias.double()
    return factor.float(), offset.float()


def _times(weight: CodedWeight, factor: NDArray[np.float32], axis: int) -> CodedWeight:
    """The weight with every channel along the axis multiplied; scales take it, codes but its sign."""
    shape = [1] * weight.codes.ndim
    shape[axis] = -1
    mirror = weight.quant_min + weight.quant_max
    negative = factor < 0
    scale = np.broadcast_to(weight.scale, factor.shape) * np.abs(factor)
    codes = np.where(negative.reshape(shape), mirror - weight.codes, weight.codes)
    zero_point = np.where(negative, mirror - weight.zero_point, weight.zero_point)
    dead = ~(scale >= np.finfo(np.float32).tiny)  # a factor of 0: the channel is its bias
    codes = np.where(dead.reshape(shape), zero_point.reshape(shape), codes)
    return CodedWeight(
        codes.astype(np.int32),
        np.where(dead, np.float32(1), scale).astype(np.float32),
        zero_point.astype(np.int32),
        weight.quant_min,
        weight.quant_max,
        axis,
    )
