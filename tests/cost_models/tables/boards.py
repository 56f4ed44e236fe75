"""A small network with a residual addition, a device that computes in two types, and tables of both."""

from bitwright.problems import (
    FLOAT32,
    Device,
    LayerDescription,
    Link,
    NetworkDescription,
    Precision,
)
from bitwright.problems.device import ComputeType, Support
from bitwright.problems.operation import OperationKey

W4A4, W4A8, W8A8 = Precision(4, 4), Precision(4, 8), Precision(8, 8)
F16 = Precision(16, 16, "float")
OPERATION = (
    "op,in_channels,out_channels,kernel_h,kernel_w,stride,groups,in_h,in_w,"
    "weight_bits,activation_bits,latency_us"
)


def conv(name, inputs, outputs, side, kernel=3, **more):
    """A padded convolution of stride 1 on one image."""
    weights = inputs * outputs * kernel**2
    return LayerDescription(
        name,
        "Conv2d",
        weights,
        weights * side**2,
        (1, inputs, side, side),
        (1, outputs, side, side),
        in_channels=inputs,
        out_channels=outputs,
        kernel=(kernel, kernel),
        stride=(1, 1),
        groups=1,
        **more,
    )


def residual():
    """Four layers: `a` feeds `b` and `c`; what `b` and `c` make is added and read by `d`."""
    layers = (conv("a", 3, 8, 6), conv("b", 8, 8, 6), conv("c", 8, 8, 6, 1), conv("d", 8, 4, 6))
    links = (Link("a", "b", 288), Link("a", "c", 288), Link("b", "d", 288), Link("c", "d", 288))
    return NetworkDescription("residual", layers, links=links)


def board():
    """Everything of at most 8 bits runs as int8, all else as float32."""
    return Device(
        "board",
        "a board with int8 and float32",
        (ComputeType("int8", W8A8), ComputeType("float32", FLOAT32)),
        (Support({W4A4: "int8", W4A8: "int8", W8A8: "int8", FLOAT32: "float32"}),),
    )


def row(key: OperationKey, precision, latency):
    """A line of a table by operation."""
    columns = [getattr(key, column) for column in OPERATION.split(",")[:9]]
    bits = (precision.weight_bits, precision.activation_bits)
    return ",".join(map(str, (*columns, *bits, latency)))


def by_layer(head, rows):
    """The text of a table by layer from (layer, precision, latency)."""
    lines = [f"{n},{p.weight_bits},{p.activation_bits},{p.variant},{v}" for n, p, v in rows]
    return "\n".join([*head, "layer,weight_bits,activation_bits,variant,latency_us", *lines])
