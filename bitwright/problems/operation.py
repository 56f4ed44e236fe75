"""The key of an operation: what tables of costs that serve many networks are looked up by."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NoReturn

from bitwright.problems.errors import InputError
from bitwright.problems.network import LayerDescription

COLUMNS = (
    "op", "in_channels", "out_channels", "kernel_h", "kernel_w", "stride", "groups", "in_h", "in_w",
)  # fmt: skip
PRODUCT, ATTENTION = "MatMul", "Attention"
"""Kinds of layers that multiply two activations."""

_LARGEST = 2**31


@dataclass(frozen=True, order=True, slots=True)
class OperationKey:
    """What a layer computes, names apart; the columns of a cost table in their order.

    `op` is the kind of the layer, such as `Conv2d`, with `+Hardswish` behind it where that
    activation runs with it. What the columns hold:

    | op | channels | kernel | groups | in_h x in_w |
    |---|---|---|---|---|
    | `Conv2d`, `ConvTranspose2d` | its own | its own | its own | height x width of the input |
    | `Conv1d`, `ConvTranspose1d` | its own | length x 1 | its own | length of the input x 1 |
    | `Linear` | features in, out | 1 x 1 | 1 | rows that are multiplied, batch included, x 1 |
    | `MatMul` of activations | summed over, columns | 1 x 1 | separate products | rows of each x 1 |
    | `Attention`, fused | of a query, of a value | 1 x 1 | heads x batch | queries x keys |

    The batch of a convolution, its padding and dilation have no column.
    """

    op: str
    in_channels: int
    out_channels: int
    kernel_h: int
    kernel_w: int
    stride: int
    groups: int
    in_h: int
    in_w: int

    def __post_init__(self) -> None:
        if not isinstance(self.op, str) or not self.op:
            raise InputError("an operation needs the kind of its layer as `op`, such as 'Conv2d'")
        for column in COLUMNS[1:]:
            size = getattr(self, column)
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size < _LARGEST:
                raise InputError(
                    f"{column} must be an integer from 1 to {_LARGEST - 1}, got {size!r}"
                )

    def __str__(self) -> str:
        size = f"{self.in_channels}->{self.out_channels}"
        kernel = f"{self.kernel_h}x{self.kernel_w}/{self.stride}"
        return f"{self.op} {size} {kernel} groups {self.groups} on {self.in_h}x{self.in_w}"


def operation_key(layer: LayerDescription) -> OperationKey:
    """The key of a layer, without an activation; raises `InputError` where it has none.

    Recurrent modules have none, nor have convolutions with three dimensions or two strides.
    """
    if layer.kind == PRODUCT and layer.in_channels is None:
        return _product_key(layer)
    if layer.kind == ATTENTION and layer.in_channels is None:
        return _attention_key(layer)
    if layer.in_channels is None or layer.out_channels is None or not layer.input_shape:
        _refuse(layer, f"its kind {layer.kind!r} has no operation key")
    channels = (layer.in_channels, layer.out_channels)
    if not layer.kernel:
        return OperationKey(layer.kind, *channels, 1, 1, 1, 1, math.prod(layer.input_shape[:-1]), 1)
    strides, dimensions = set(layer.stride), len(layer.kernel)
    if dimensions > 2 or len(strides) != 1 or len(layer.input_shape) <= dimensions:
        _refuse(
            layer,
            "an operation key has up to two kernel sizes and one stride, got a kernel of "
            f"{layer.kernel} with stride {layer.stride} on an input of {layer.input_shape}",
        )
    kernel_h, kernel_w, *_ = (*layer.kernel, 1)
    in_h, in_w, *_ = (*layer.input_shape[-dimensions:], 1)
    stride, groups = strides.pop(), layer.groups or 1
    return OperationKey(layer.kind, *channels, kernel_h, kernel_w, stride, groups, in_h, in_w)


def operation_keys(layer: LayerDescription) -> tuple[OperationKey, ...]:
    """The keys that may serve a layer, the nearest first: with its activation, and without."""
    key = operation_key(layer)
    if not layer.activation:
        return (key,)
    return (replace(key, op=f"{key.op}+{layer.activation}"), key)


def operation_calls(layer: LayerDescription) -> int:
    """How often one run of the network carries out the layer's operation.

    More than once where a module is called several times on inputs of one size. Raises `InputError`
    where the sizes differ, which one key cannot describe, and where `operation_key` does.
    """
    key = operation_key(layer)
    if layer.kind == ATTENTION:
        return 1
    if layer.kind == PRODUCT:
        one = math.prod(layer.output_shape) * key.in_channels
    elif not layer.kernel:
        one = math.prod(layer.input_shape) * key.out_channels
    else:
        transposed = "Transpose" in layer.kind
        elements = math.prod(layer.input_shape if transposed else layer.output_shape)
        channels = (key.out_channels if transposed else key.in_channels) // key.groups
        one = elements * channels * key.kernel_h * key.kernel_w
    if one < 1 or layer.macs < 1 or layer.macs % one:
        _refuse(
            layer,
            f"its {layer.macs} multiply-adds are no multiple of the {one} of its first call, so it "
            "is called on inputs of different sizes, which one operation key cannot describe",
        )
    return layer.macs // one


def _product_key(layer: LayerDescription) -> OperationKey:
    left, result = layer.input_shape, layer.output_shape
    if layer.parameters or min(len(left), len(result)) < 2 or left[-2] != result[-2]:
        _refuse(layer, f"shapes {left} and {result} do not say which matrices are multiplied")
    products = math.prod(result[:-2])
    return OperationKey(PRODUCT, left[-1], result[-1], 1, 1, 1, products, result[-2], 1)


def _attention_key(layer: LayerDescription) -> OperationKey:
    """Every query meets every key and every value; how many there are follows from the multiply-adds."""
    query, result = layer.input_shape, layer.output_shape
    one = math.prod(query[:-1]) * (query[-1] + result[-1]) if query and result else 0
    if len(query) < 2 or not one or layer.macs < 1 or layer.macs % one:
        _refuse(layer, f"shapes {query} and {result} do not say which matrices are multiplied")
    heads, keys = math.prod(query[:-2]), layer.macs // one
    return OperationKey(ATTENTION, query[-1], result[-1], 1, 1, 1, heads, query[-2], keys)


def _refuse(layer: LayerDescription, why: str) -> NoReturn:
    raise InputError(f"layer {layer.name!r}: {why}; give its cost in a table keyed by layer")
