"""Variants of a precision: other forms than plain integers, and what they change in a layer's size.

| variant | what the layer does with its bits |
|---|---|
| `float`, `bfloat` | 16 bits are float16 or bfloat16 |
| `hybrid` | integers multiply; the nonlinear activation that follows is evaluated in float32 |
| `integer` | its output, too, is rounded to the activation bits, and the activation works on integers |
| `svd-K` | a fully connected layer's weight is the product of two factors of rank K |
| `svd-K+hybrid`, `svd-K+integer` | both |

A problem may use any other label for what it describes; only these can be carried out.
"""

from __future__ import annotations

import math
import re

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.network import LayerDescription
from bitwright.problems.precision import FLOAT_BITS, Precision

FLOAT16, BFLOAT16, HYBRID, INTEGER = "float", "bfloat", "hybrid", "integer"
_SVD = re.compile(rf"svd-([1-9]\d{{0,6}})(?:\+({HYBRID}|{INTEGER}))?")
_KNOWN = (FLOAT16, BFLOAT16, HYBRID, INTEGER, "svd-K")


def check_variant(layer: str, precision: Precision) -> None:
    """Raise `InputError` for a variant that is not in the table above, or does not suit the bits."""
    variant = precision.variant
    what = f"layer {layer!r}: variant {variant!r} of {precision}"
    bits = (precision.weight_bits, precision.activation_bits)
    if variant in (FLOAT16, BFLOAT16):
        if 16 not in bits:
            raise InputError(f"{what} needs 16 bits")
    elif activation_form(variant):
        if FLOAT_BITS in bits:
            raise InputError(f"{what} needs fewer than {FLOAT_BITS} bits on both sides")
    elif variant and svd_rank(variant) is None:
        raise InputError(f"{what} is unknown; {nearest(variant, _KNOWN)}")


def is_form(variant: str) -> bool:
    """Whether the variant leaves open in which types its integers are stored, as `hybrid` does."""
    return bool(activation_form(variant)) or svd_rank(variant) is not None


def svd_rank(variant: str) -> int | None:
    """The rank of an `svd-K`, with or without a form of activation; None for any other variant."""
    match = _SVD.fullmatch(variant)
    return int(match[1]) if match else None


def activation_form(variant: str) -> str:
    """`hybrid` or `integer`, alone or behind a rank; empty for a variant that says neither."""
    if variant in (HYBRID, INTEGER):
        return variant
    match = _SVD.fullmatch(variant)
    return (match[2] or "") if match else ""


def svd_variant(rank: int, form: str = "") -> str:
    """The label of a rank, with a form of activation or without.

    >>> svd_variant(32, HYBRID)
    'svd-32+hybrid'
    """
    return f"svd-{rank}+{form}" if form else f"svd-{rank}"


def most_useful_rank(outputs: int, inputs: int) -> int:
    """The largest rank whose factors hold fewer weights than the matrix: k < mn / (m + n).

    >>> most_useful_rank(10, 40)
    7
    """
    return (outputs * inputs - 1) // (outputs + inputs)


def matrix_shape(layer: LayerDescription) -> tuple[int, int] | None:
    """Outputs and inputs of a fully connected module; None for any other layer."""
    if (
        layer.function is not None
        or layer.kind != "Linear"
        or not (layer.output_shape and layer.input_shape)
    ):
        return None
    return layer.output_shape[-1], layer.input_shape[-1]


def effective_size(layer: LayerDescription, precision: Precision) -> tuple[int, int]:
    """Weights to be stored and multiply-adds of one run, as the variant has them.

    An m x n layer of variant `svd-K` has K (m + n) weights and as many multiply-adds per position;
    everything else has the layer's own. Raises `InputError` for `svd-K` of what is no matrix.
    """
    rank = svd_rank(precision.variant)
    if rank is None:
        return layer.parameters, layer.macs
    shape = matrix_shape(layer)
    if shape is None:
        raise InputError(
            f"layer {layer.name!r}: {precision} needs a Linear layer, got a {layer.kind}"
        )
    factors = rank * sum(shape)
    return factors, layer.macs // math.prod(shape) * factors


def activation_bitops(layer: LayerDescription, precision: Precision) -> int:
    """Bit operations of the nonlinear activation behind the layer, one operation per element.

    `hybrid` counts 32 x 32 for each, `integer` the activation bits squared. Other variants do not
    say where the activation is evaluated, and nothing is counted for them.
    """
    form = activation_form(precision.variant)
    bits = {HYBRID: FLOAT_BITS, INTEGER: precision.activation_bits}.get(form, 0)
    return math.prod(layer.output_shape) * bits * bits
