"""Folding batch norms into the layers before them, as integer hardware does.

In evaluation mode a batch norm is `y = (x - mean) * gamma / sqrt(variance + eps) + beta`, one factor
and one offset per channel, which the layer's weight and bias can take over (Jacob et al. 2018,
arXiv 1712.05877, section 3.2). Fold before calibrating, so that the grids are those of the weights
that the hardware holds; then a model is to be trained (QAT) without its batch norms.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bitwright.networks import Layer, TracedNetwork, layers_of
from bitwright.networks.norms import plan_folding
from bitwright.quantization.ptq.channels import channel_factors


def fold_batch_norms(model: nn.Module, traced: TracedNetwork) -> nn.Module:
    """A copy in which every batch norm that alone follows a layer is folded into the layer.

    The norm's place is taken by `nn.Identity`, so names and graph of the layers stay. In evaluation
    mode the copy computes the same up to float rounding. `traced` is what `read_network` says of the
    model; `bitwright.networks.norms.plan_folding` tells which norms are folded, and why others stay.
    """
    plan = plan_folding(model, traced)
    twin = copy.deepcopy(model)
    for name, layer in layers_of(twin, plan.folds).items():
        fold_into(layer, twin.get_submodule(plan.folds[name]))
    without_norms(twin, plan.folds.values())
    return twin


def affine_of(norm: nn.Module, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Factor and offset per channel, in float64, that the bias and the norm behind it amount to."""
    assert isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.detach().double()
    offset = -norm.running_mean.double() * factor
    if norm.bias is not None:
        offset = offset + norm.bias.detach().double()
    if bias is not None:
        offset = offset + bias.detach().double() * factor
    return factor, offset


def fold_into(layer: Layer, norm: nn.Module) -> None:
    """Give the layer the weight and bias that make the norm needless; computed in float64."""
    factor, offset = affine_of(norm, layer.bias)
    weight = layer.weight.detach()
    folded = weight.double() * channel_factors(layer, "output", factor)
    layer.weight = nn.Parameter(folded.to(weight.dtype), layer.weight.requires_grad)
    layer.bias = nn.Parameter(offset.to(weight.dtype), layer.weight.requires_grad)


def without_norms(model: nn.Module, names: Iterable[str]) -> None:
    """Put `nn.Identity` in the place of the modules of these names, wherever they stand."""
    gone = {id(model.get_submodule(name)) for name in names}
    for parent in list(model.modules()):
        for child, module in list(parent._modules.items()):
            if id(module) in gone:
                parent._modules[child] = nn.Identity().train(parent.training)
