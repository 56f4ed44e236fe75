"""The costs `stored_size_bytes` and `size_bytes` against exported files and by hand."""

from __future__ import annotations

import random

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


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        pytest.param(lambda: CompactResNet(channels=1, classes=10, widths=[16, 24, 32]), (2, 1, 8, 8), id="digits"),
        pytest.param(EveryLayer, (2, 4, 8, 8), id="every layer"),
        pytest.param(resnet18, (1, 3, 32, 32), id="resnet18", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_it_is_what_an_exported_file_holds(build, shape):
    """The initializers of an export in a mixture of precisions take just the bytes that the cost says."""
    torch.manual_seed(0)
    model, inputs = build().eval(), (torch.randn(shape),)
    network = read_network(model, inputs, "network").description
    draw = random.Random(0)
    configuration = BitConfiguration(
        (name, Precision.parse(draw.choice(PRECISIONS))) for name in network.names
    )
    calibration = calibrate(model, network, [inputs])
    export = export_qdq(quantized_copy(model, configuration, calibration), inputs)
    cost = StoredSize()
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


def test_no_type_above_sixteen_bits():
    """What cannot be stored has no stored size, but a packed one."""
    with pytest.raises(InputError, match="17 bits"):
        StoredSize().cost(LAYER, Precision(17, 8))
    assert PackedSize().cost(LAYER, Precision(17, 8)) == 20 + 8
