"""Precisions of layers as arguments of TensorRT's `trtexec`."""

from __future__ import annotations

from collections.abc import Mapping

from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision

_FLAGS = {"int8": "--int8", "fp16": "--fp16", "bf16": "--bf16", "fp32": ""}


def tensorrt_precision(precision: Precision) -> str:
    """The type in which TensorRT computes such a layer: int8, fp16, bf16 or fp32.

    It has no integer type but int8 for activations: fewer bits compute as int8, more as fp32.
    """
    bits = max(precision.weight_bits, precision.activation_bits)
    if bits <= 8:
        return "int8"
    if bits == 16 and precision.variant == "float":
        return "fp16"
    return "bf16" if bits == 16 and precision.variant == "bfloat" else "fp32"


def tensorrt_arguments(configuration: Mapping[str, Precision]) -> str:
    """Arguments for `trtexec`, one a line; the layers' names are those of the exported ONNX nodes."""
    types = {name: tensorrt_precision(precision) for name, precision in configuration.items()}
    for name in types:
        if any(character in "\"':,*" or character.isspace() for character in name):
            raise InputError(f"layer {name!r}: trtexec takes no name with such characters")
    flags = [flag for kind, flag in _FLAGS.items() if flag and kind in types.values()]
    listed = ",".join(f"{name}:{kind}" for name, kind in types.items())
    return "\n".join([*flags, "--precisionConstraints=obey", f"--layerPrecisions={listed}"]) + "\n"
