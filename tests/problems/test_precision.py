"""Precisions: the rules at construction, their order, and their labels."""

import pytest
from hypothesis import given

from bitwright.problems import FLOAT32, InputError, Precision

from .strategies import precisions, some


@some
@given(precisions)
def test_a_label_reads_back(precision):
    """The short form names weight bits, activation bits and variant, and nothing is lost."""
    start = f"w{precision.weight_bits}a{precision.activation_bits}"
    assert str(precision) == f"{start}-{precision.variant}" if precision.variant else start
    assert Precision.parse(precision.label) == precision
    assert repr(precision) == f"Precision({precision.label!r})"


@pytest.mark.parametrize("bits", [0, 33, -4, 4.0, True, "4", None])
@pytest.mark.parametrize("side", ["weight_bits", "activation_bits"])
def test_bits_are_integers_from_1_to_32(side, bits):
    """Anything else is refused, booleans and whole floats too."""
    with pytest.raises(
        InputError, match=rf"^{side} must be an integer from 1 to 32, got {bits!r}$"
    ):
        Precision(**{"weight_bits": 8, "activation_bits": 8, side: bits})


@pytest.mark.parametrize("variant", ["a b", "-x", "x" * 33, "é", "x\n", None, 8])
def test_a_variant_is_a_short_label(variant):
    """A variant is letters, digits and a few signs, so that it fits in names of files and columns."""
    with pytest.raises(InputError, match="variant must be a short label"):
        Precision(8, 8, variant)


@pytest.mark.parametrize(
    "label", ["", "4a8", "w4", "W4A8", "w4a8-", "w4a8 ", "w100a8", "w4.0a8", 48]
)
def test_other_labels_are_refused(label):
    """What is no label is refused with an example of one."""
    with pytest.raises(InputError, match="a precision is written like 'w4a8'"):
        Precision.parse(label)


def test_the_order_is_by_weights_first():
    """Precisions sort by weight bits, then activation bits, then variant."""
    ordered = ["w2a8", "w4a2", "w4a8", "w4a8-svd", "w16a16", "w32a32"]
    assert [p.label for p in sorted(map(Precision.parse, reversed(ordered)))] == ordered


def test_only_plain_32_bits_is_float32():
    """32 bits on both sides and no variant mean that the layer is left alone."""
    assert FLOAT32.is_float32
    assert Precision(32, 32) == FLOAT32
    others = [Precision(32, 8), Precision(8, 32), Precision(32, 32, "tf32"), Precision(16, 16)]
    assert not any(p.is_float32 for p in others)
