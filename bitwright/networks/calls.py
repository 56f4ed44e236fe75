"""What a call of a layer computes with: its weights, its input, and its sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitwright.networks.flow import Source
from bitwright.networks.functions import ATTENTION, OPERANDS, PRODUCTS, argument, axis_in
from bitwright.networks.layers import (
    FUNCTIONS,
    LAYER_TYPES,
    NO_GEOMETRY,
    Geometry,
    geometry_of_call,
    geometry_of_module,
    layer_kind,
)
from bitwright.networks.tensors import tensors_in
from bitwright.problems.network import FunctionCall

Weights = frozenset[str]
"""Names of the Parameters that hold a layer's weights."""

_WITH_A_SUMMAND = ("addmm", "addbmm", "addmv", "baddbmm")


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer: its node in the graph, what it reads, and its multiply-adds.

    `weights` names the Parameters that hold its weights, `parameters` counts them. `quantizable`
    says whether its weight and input, or both operands, can be replaced; `function` by what a call
    of a function is known again. `source` is where its input comes from.
    """

    node: int
    name: str
    kind: str
    macs: int
    weights: frozenset[str]
    parameters: int
    quantizable: bool
    source: Source | None
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    geometry: Geometry
    function: FunctionCall | None = None


@dataclass(frozen=True)
class Computation:
    """What one call computes with, before it has a name."""

    kind: str
    input: Tensor
    weights: Weights
    parameters: int
    quantizable: bool = False
    geometry: Geometry = NO_GEOMETRY
    function: FunctionCall | None = None


def of_module(module: nn.Module, input_: Tensor, names: Mapping[int, str]) -> Computation:
    """The call of a module; `names` are those of the Parameters by identity."""
    parameters = _weights_of_module(module)
    is_layer = isinstance(module, LAYER_TYPES)
    counted = [module.weight] if isinstance(module, LAYER_TYPES) else parameters
    return Computation(
        kind=layer_kind(module),
        input=input_,
        weights=frozenset(names[id(p)] for p in parameters),
        parameters=sum(weight.numel() for weight in counted),
        quantizable=is_layer,
        geometry=geometry_of_module(module),
    )


def _weights_of_module(module: nn.Module) -> list[nn.Parameter]:
    """The Parameters that hold a module's weights, also where the weight is computed from them."""
    if parametrize.is_parametrized(module, "weight"):
        return list(module.get_submodule("parametrizations.weight").parameters())
    weight = module._parameters.get("weight")
    if isinstance(module, LAYER_TYPES) and weight is not None:
        return [weight]
    return [p for p in module.parameters(recurse=False) if p.ndim > 1]


def of_function(
    place: FunctionCall,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    weights_of: Callable[[Tensor], Weights | None],
    parameters: Mapping[str, Tensor],
) -> Computation:
    """A functional call: known by its weight, or a product of two activations.

    `place` names the function and where it is called. `weights_of` says which of the `parameters` a
    tensor comes from, None where data is in it.
    """
    function = place.function
    operands = list(tensors_in((args, kwargs)))[function in _WITH_A_SUMMAND :]
    if function in FUNCTIONS:
        kind, weight = FUNCTIONS[function], args[1] if len(args) > 1 else kwargs["weight"]
        input_, geometry = operands[0], geometry_of_call(kind, weight, args, kwargs)
    else:
        kind, input_, weight = _product(function, operands, weights_of)
        geometry = NO_GEOMETRY
        if kind == "Linear":
            geometry = Geometry(weight.shape[0], weight.shape[1], groups=1)
    weights = frozenset[str]() if weight is None else weights_of(weight) or frozenset[str]()
    known: FunctionCall | None = None
    if weights and kind in FUNCTIONS.values():
        known = _call_with_weight(place, weight, weights, geometry, parameters)
    elif not weights and (function in PRODUCTS or function == ATTENTION):
        read = (argument(operand, args, kwargs) for operand in OPERANDS[function])
        known = None if any(weights_of(tensor) for tensor in read) else place
    count = sum(parameters[name].numel() for name in weights)
    return Computation(kind, input_, weights, count, known is not None, geometry, known)


def _call_with_weight(
    place: FunctionCall,
    weight: Tensor,
    weights: Weights,
    geometry: Geometry,
    parameters: Mapping[str, Tensor],
) -> FunctionCall | None:
    """What the call is known by; None where the weight is not one Parameter as it is stored."""
    if len(weights) != 1 or weight.ndim < 2:
        return None
    (name,) = weights
    axis = 0 if place.function in FUNCTIONS else 1
    if place.function.startswith("conv_transpose"):
        axis = 0 if geometry.groups == geometry.in_channels else 1
    stored = axis_in(parameters[name], weight, axis)
    return None if stored is None else FunctionCall(place.module, name, stored)


def _product(
    function: str, operands: list[Tensor], weights_of: Callable[[Tensor], Weights | None]
) -> tuple[str, Tensor, Any]:
    """Kind, input and weight of a matrix product; two weights or none are a product without one."""
    kind = "Attention" if function == "scaled_dot_product_attention" else "MatMul"
    weights = [tensor for tensor in operands if weights_of(tensor)]
    inputs = [tensor for tensor in operands if not weights_of(tensor)]
    if len(weights) != 1 or not inputs:
        return kind, operands[0], None
    is_linear = weights[0].ndim == 2 and operands[-1] is weights[0] and function != "einsum"
    return "Linear" if is_linear else kind, inputs[0], weights[0]
