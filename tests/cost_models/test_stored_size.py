"""The costs `stored_size_bytes` and `size_bytes` against exported files and by hand."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
import torch

from bitwright.cost_models import PackedSize, StoredSize
from bitwright.networks import read_network
from bitwright.problems import BitConfiguration, InputError, LayerDescription, Precision
from bitwright.quantization import calibrate, quantized_copy
from bitwright.quantization.export import export_qdq
from bitwright.tasks.models import CompactResNet

from ..networks.architectures import resnet18
from ..quantization.export.running import EveryLayer

PRECISIONS = ("w2a8", "w3a4", "w4a8", "w5a8", "w8a8", "w16a16", "w16a16-float", "w32a32")
LAYER = LayerDescription(
    "conv", "Conv2d", 9, 9, (1, 1, 3, 3), (1, 1, 1, 1), bias_parameters=1, weight_channels=1
)


MODELS = {
    "digits": (lambda: CompactResNet(channels=1, classes=10, widths=[16, 24, 32]), (2, 1, 8, 8)),
    "every layer": (EveryLayer, (2, 4, 8, 8)),
    "resnet18": (resnet18, (1, 3, 32, 32)),
}
FAST = {("digits", "symmetric", "channel"), ("every layer", "affine", "tensor")}
GRIDS = itertools.product(MODELS, ("symmetric", "affine"), ("channel", "tensor", "group:3"))


@pytest.mark.parametrize(
    ("name", "scheme", "granularity"),
    [pytest.param(*grid, marks=() if grid in FAST else pytest.mark.slow) for grid in GRIDS],
)
def test_it_is_what_an_exported_file_holds(name, scheme, granularity):
    """The initializers of an export in a mixture of precisions take just the bytes that the cost says."""
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model, inputs = build().eval(), (torch.randn(shape),)
    network = read_network(model, inputs, "network").description
    draw = random.Random(0)
    configuration = BitConfiguration(
        (name, Precision.parse(draw.choice(PRECISIONS))) for name in network.names
    )
    calibration = calibrate(
        model, network, [inputs], weight_scheme=scheme, weight_granularity=granularity
    )
    export = export_qdq(quantized_copy(model, configuration, calibration), inputs)
    cost = StoredSize(weight_scheme=scheme, weight_granularity=granularity)
    by_layer = sum(cost.cost(layer, configuration[layer.name]) for layer in network)
    assert export.initializer_bytes == by_layer + cost.fixed_cost(network)


@pytest.mark.parametrize(
    ("label", "stored", "packed"),
    [
        ("w2a8", 3 + 8, 3 + 8),
        ("w3a8", 5 + 8, 4 + 8),
        ("w5a8", 9 + 8, 6 + 8),
        ("w9a8", 18 + 8, 11 + 8),
        ("w16a16-float", 18 + 4, 18 + 4),
        ("w32a8", 36 + 4, 36 + 4),
    ],
)
def test_nine_weights_by_hand(label, stored, packed):
    """Nine codes filled up to bytes, a scale of 4 bytes where they are integers, a bias of 4."""
    assert StoredSize().cost(LAYER, Precision.parse(label)) == stored
    assert PackedSize().cost(LAYER, Precision.parse(label)) == packed


WIDE = LayerDescription(
    "fc", "Linear", 80, 80, (1, 8), (1, 10), bias_parameters=10, weight_channels=10
)


@pytest.mark.parametrize(
    ("scheme", "granularity", "stored", "packed"),
    [
        ("symmetric", "channel", 40 + 40, 30 + 40),
        ("symmetric", "tensor", 40 + 4, 30 + 4),
        ("symmetric", "group:4", 40 + 40, 30 + 12),
        ("affine", "channel", 40 + 40 + 5, 30 + 40 + 4),
        ("affine", "tensor", 40 + 4 + 1, 30 + 4 + 1),
        ("affine", "group:4", 40 + 40 + 5, 30 + 12 + 2),
    ],
)
def test_scales_and_zero_points_by_hand(scheme, granularity, stored, packed):
    """Eighty codes of 3 bits, stored in 4, for 10 channels: scales of 4 bytes, zero points as codes."""
    options = {"weight_scheme": scheme, "weight_granularity": granularity}
    precision = Precision(3, 8)
    assert StoredSize(**options).cost(WIDE, precision) == stored + 40
    assert PackedSize(**options).cost(WIDE, precision) == packed + 40
    folded = replace(WIDE, folded_channels=10)  # a norm's factors differ from channel to channel
    per_channel = PackedSize(weight_scheme=scheme).cost(WIDE, precision)
    assert PackedSize(**options).cost(folded, precision) == per_channel


@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_a_layer_without_weights_stores_nothing(scheme):
    """A product of activations has no grid of weights to store, one for the tensor neither."""
    product = LayerDescription("qk", "MatMul", 0, 80, (1, 8), (1, 10))
    for granularity in ("channel", "tensor", "group:4"):
        cost = StoredSize(weight_scheme=scheme, weight_granularity=granularity)
        assert cost.cost(product, Precision(8, 8)) == 0


def test_what_no_granularity_is_is_refused():
    """The words are those of a calibration."""
    with pytest.raises(InputError, match="weight_granularity 'row' must be 'tensor', 'channel'"):
        StoredSize(weight_granularity="row")


def test_no_type_above_sixteen_bits():
    """What cannot be stored has no stored size, but a packed one."""
    with pytest.raises(InputError, match="17 bits"):
        StoredSize().cost(LAYER, Precision(17, 8))
    assert PackedSize().cost(LAYER, Precision(17, 8)) == 20 + 8
