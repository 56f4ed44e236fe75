"""The key of an operation: what tables of costs that serve many networks are looked up by."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bitwright.problems.errors import InputError
from bitwright.problems.network import LayerDescription

COLUMNS = (
    "op", "in_channels", "out_channels", "kernel_h", "kernel_w", "stride", "groups", "in_h", "in_w",
)  # fmt: skip


@dataclass(frozen=True, order=True, slots=True)
class OperationKey:
    """What a layer computes, names apart; the columns of a cost table in their order.

    `op` is the kind of the layer, such as `Conv2d`. A `Linear` layer has a kernel of 1 x 1, and
    `in_h` counts the rows that it multiplies, batch included (1 for one vector). A one-dimensional convolution has
    its kernel and length in the `_h` columns, and 1 in the others.
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

    def __str__(self) -> str:
        size = f"{self.in_channels}->{self.out_channels}"
        kernel = f"{self.kernel_h}x{self.kernel_w}/{self.stride}"
        return f"{self.op} {size} {kernel} groups {self.groups} on {self.in_h}x{self.in_w}"


def operation_key(layer: LayerDescription) -> OperationKey:
    """The key of a layer; raises `InputError` where the columns cannot say what it computes."""
    known = layer.in_channels is not None and layer.out_channels is not None
    if not known or len(layer.input_shape) < 2:
        raise InputError(f"layer {layer.name!r}: its kind {layer.kind!r} has no operation key")
    assert layer.in_channels is not None
    assert layer.out_channels is not None
    if not layer.kernel:  # a product of matrices
        rows = math.prod(layer.input_shape[:-1])
        return OperationKey(layer.kind, layer.in_channels, layer.out_channels, 1, 1, 1, 1, rows, 1)
    strides = set(layer.stride)
    if len(layer.kernel) > 2 or len(strides) != 1:
        raise InputError(
            f"layer {layer.name!r}: an operation key has two kernel sizes and one stride, got a "
            f"kernel of {layer.kernel} with stride {layer.stride}"
        )
    kernel_h, kernel_w, *_ = (*layer.kernel, 1)
    in_h, in_w, *_ = (*layer.input_shape[2:], 1)
    return OperationKey(
        op=layer.kind,
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        stride=strides.pop(),
        groups=layer.groups or 1,
        in_h=in_h,
        in_w=in_w,
    )
