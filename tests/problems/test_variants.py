"""Labels of variants, and the sizes that they stand for."""

import math

import pytest

from bitwright.problems import InputError, LayerDescription, Precision
from bitwright.problems.variants import (
    activation_bitops,
    check_variant,
    effective_size,
    most_useful_rank,
    svd_rank,
)

FC = LayerDescription("fc", "Linear", 40 * 10, 6 * 400, (2, 3, 40), (2, 3, 10))
CONV = LayerDescription("conv", "Conv2d", 432, 432 * 64, (1, 3, 8, 8), (1, 16, 8, 8))


@pytest.mark.parametrize(("outputs", "inputs"), [(10, 40), (1, 7), (2, 2), (5, 5), (1000, 2048)])
def test_the_most_useful_rank_is_the_largest_that_saves(outputs, inputs):
    """k < mn / (m + n), found by trying every rank."""
    saving = [k for k in range(1, 1000) if k * (outputs + inputs) < outputs * inputs]
    assert most_useful_rank(outputs, inputs) == max(saving, default=0)


@pytest.mark.parametrize(
    ("variant", "rank"),
    [
        ("svd-32", 32),
        ("svd-1", 1),
        ("svd-0", None),
        ("svd-", None),
        ("svd-032", None),
        ("svd-8+integer", 8),
        ("svd-8+float", None),
        ("", None),
    ],
)
def test_ranks_are_read_from_labels(variant, rank):
    """Only `svd-` and a positive number without leading zeros names a rank."""
    assert svd_rank(variant) == rank


def test_a_low_rank_layer_counts_two_matrices():
    """K (m + n) weights; every one is multiplied once per position, here 2 x 3 of them."""
    assert effective_size(FC, Precision(4, 8, "svd-5")) == (5 * 10 + 5 * 40, 6 * (50 + 200))


@pytest.mark.parametrize("label", ["w4a8", "w4a8-hybrid", "w4a8-integer", "w16a16-float"])
@pytest.mark.parametrize("layer", [FC, CONV], ids=["fc", "conv"])
def test_other_variants_keep_the_layer_as_it_is(layer, label):
    """No other variant changes weights or multiply-adds."""
    assert effective_size(layer, Precision.parse(label)) == (layer.parameters, layer.macs)


def test_a_convolution_has_no_factors():
    """The error names layer, precision and kind."""
    with pytest.raises(InputError, match="layer 'conv': w4a8-svd-5 needs a Linear layer, got a Co"):
        effective_size(CONV, Precision(4, 8, "svd-5"))


@pytest.mark.parametrize(
    ("label", "bits"),
    [
        ("w4a6", 0),
        ("w4a6-hybrid", 32),
        ("w4a6-integer", 6),
        ("w4a6-svd-2", 0),
        ("w4a6-svd-2+hybrid", 32),
    ],
)
def test_activations_count_once_per_element(label, bits):
    """16 x 8 x 8 evaluations, each of 32 x 32 bits in float and of a x a bits in integers."""
    assert activation_bitops(CONV, Precision.parse(label)) == math.prod((16, 8, 8)) * bits**2


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("w8a8-float", "variant 'float' of w8a8-float needs 16 bits"),
        ("w8a32-hybrid", "variant 'hybrid' of w8a32-hybrid needs fewer than 32 bits on both sides"),
        ("w32a8-integer", "'integer' of w32a8-integer needs fewer than 32"),
        ("w8a8-hybird", "variant 'hybird' of w8a8-hybird is unknown; did you mean 'hybrid'"),
        ("w32a32-svd-4+hybrid", "needs fewer than 32 bits on both sides"),
        ("w8a8-svd-0", "variant 'svd-0' of w8a8-svd-0 is unknown; did you mean 'svd-K'"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(label, message):
    """One line with layer, variant and the nearest known one."""
    with pytest.raises(InputError, match=f"layer 'fc': .*{message}"):
        check_variant("fc", Precision.parse(label))


@pytest.mark.parametrize(
    "label",
    ["w4a8", "w16a16-bfloat", "w4a8-hybrid", "w4a8-integer", "w32a32-svd-4", "w4a8-svd-4+integer"],
)
def test_what_can_be_carried_out_passes(label):
    """Known variants with bits that suit them."""
    check_variant("fc", Precision.parse(label))
