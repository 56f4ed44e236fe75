"""Bit operations and weight sizes against published figures of ResNet18."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.cost_models import BitOperations, MeanWeightBits, WeightSize
from bitwright.problems import (
    FLOAT32,
    InputError,
    LayerDescription,
    NetworkDescription,
    Precision,
)
from bitwright.problems.costing import CostModel
from bitwright.problems.exact import ExactColumn

from .resnet18 import resnet18

MIB_IN_BITS = 8 * 2**20

# (bits of conv1, the 16 block convolutions and fc, MiB): methods.md 6.1, from MAC-AutoML/OMPQ;
# a downsample convolution takes the bits of its block's second convolution.
OMPQ = [
    ("4 3 4 4 4 4 4 3 4 4 2 2 2 2 2 2 2 2", 2.995),
    ("4 3 3 4 4 4 4 4 4 4 3 3 4 3 2 2 2 3", 3.495),
    ("4 4 4 4 4 4 4 3 3 3 3 3 4 3 2 3 3 3", 3.996),
    ("4 3 3 4 4 4 4 4 4 4 3 3 4 4 3 3 3 3", 4.495),
    ("4 3 3 3 4 4 4 3 4 3 4 3 4 3 3 4 4 4", 4.995),
    ("4 4 4 4 4 4 4 4 4 4 3 4 4 4 4 4 4 4", 5.495),
]


def total(model, network, bits):
    return sum(model.cost(layer, bits[layer.name]) for layer in network)


def test_shapes_give_the_published_totals():
    """The description built from shapes has ResNet18's weights and multiply-adds."""
    assert (resnet18().parameters, resnet18().macs) == (11_678_912, 1_814_073_344)


@pytest.mark.parametrize(("bits", "mib", "gbops"), [(8, 11.138, 116.10), (4, 5.818, 34.71)])
def test_uniform_configurations_match_hawq_v3(bits, mib, gbops):
    """Uniform bits with the first and last layer at 8 give HAWQ-V3's size and bit operations."""
    network = resnet18()
    configuration = {name: Precision(bits, bits) for name in network.names}
    configuration |= {"conv1": Precision(8, 8), "fc": Precision(8, 8)}
    assert round(total(WeightSize(), network, configuration) / MIB_IN_BITS, 3) == mib
    assert round(total(BitOperations(), network, configuration) / 1e9, 2) == gbops


@pytest.mark.parametrize(("bits", "mib"), OMPQ)
def test_sizes_match_ompq(bits, mib):
    """The mixed configurations published with OMPQ have the sizes given there."""
    network = resnet18()
    main = [name for name in network.names if "downsample" not in name]
    configuration = {name: Precision(int(b), 8) for name, b in zip(main, bits.split(), strict=True)}
    for name in network.names:
        if "downsample" in name:
            configuration[name] = configuration[name.replace("downsample.0", "conv2")]
    assert round(total(WeightSize(), network, configuration) / MIB_IN_BITS, 3) == mib


def test_float32_counts_as_32_bits():
    """A layer left in float32 costs 32 bits on both sides."""
    layer = resnet18()["fc"]
    assert BitOperations().cost(layer, FLOAT32) == 512_000 * 32 * 32
    assert WeightSize().cost(layer, FLOAT32) == 512_000 * 32


@pytest.mark.parametrize("model", [BitOperations(), WeightSize()], ids=lambda model: model.name)
def test_costs_are_python_integers(model):
    """Costs are exact integers without a fixed part, whatever their size."""
    network = resnet18()
    assert isinstance(model, CostModel)
    assert type(model.cost(network["fc"], Precision(3, 5))) is int
    assert model.fixed_cost(network) == 0


def test_truncated_svd_costs_its_two_factors():
    """ResNet18's classifier at rank 64: 64 (512 + 1000) weights, as many multiply-adds per image."""
    layer, precision = resnet18()["fc"], Precision(4, 8, "svd-64")
    assert WeightSize().cost(layer, precision) == 4 * 64 * 1512
    assert BitOperations().cost(layer, precision) == 4 * 8 * 64 * 1512


@pytest.mark.parametrize(("label", "bits"), [("w4a8-hybrid", 32), ("w4a8-integer", 8)])
def test_the_activation_behind_a_layer_is_paid_per_element(label, bits):
    """conv1 writes 64 x 112 x 112 values; the weights stay as they are."""
    layer = resnet18()["conv1"]
    plain, form = Precision(4, 8), Precision.parse(label)
    extra = BitOperations().cost(layer, form) - BitOperations().cost(layer, plain)
    assert extra == 64 * 112 * 112 * bits * bits
    assert WeightSize().cost(layer, form) == WeightSize().cost(layer, plain)


@pytest.mark.parametrize("label", ["w16a16-float", "w16a16-bfloat", "w16a8-float", "w8a16-bfloat"])
def test_half_precisions_count_as_16_bits(label):
    """float16 and bfloat16 are 16 bits on the sides that have them."""
    layer, precision = resnet18()["fc"], Precision.parse(label)
    bits = precision.weight_bits * precision.activation_bits
    assert bits in (256, 128)
    assert BitOperations().cost(layer, precision) == 512_000 * bits
    assert WeightSize().cost(layer, precision) == 512_000 * precision.weight_bits


def network_of(*parameters):
    layers = [
        LayerDescription(f"l{i}", "Linear", n, n, (1, 1), (1, 1)) for i, n in enumerate(parameters)
    ]
    return NetworkDescription("net", layers)


@given(
    st.lists(st.integers(0, 10**7), min_size=1, max_size=30),
    st.data(),
)
def test_mean_weight_bits_are_size_over_parameters(parameters, data):
    """The total is the true mean, cut off so little that neither floats nor budgets tell."""
    network = network_of(1, *parameters)
    model = MeanWeightBits().for_network(network, None)
    bits = [data.draw(st.integers(2, 32)) for _ in network]
    costs = [model.cost(layer, Precision(b, 8)) for layer, b in zip(network, bits, strict=True)]
    size = sum(layer.parameters * b for layer, b in zip(network, bits, strict=True))
    mean = Fraction(size, network.parameters)
    assert 0 <= mean - sum(costs) < Fraction(1, 10**16)
    assert float(sum(costs)) == pytest.approx(float(mean), rel=1e-15)
    column = ExactColumn.of(costs)  # a finite decimal, as problems need it
    # A budget of up to four decimals that is just missed or just met is judged so.
    for rounded in (math.floor, math.ceil):
        budget = Fraction(rounded(mean * 10**4), 10**4)
        assert (column.total(np.arange(len(costs))) <= budget) == (mean <= budget)


def test_uniform_bits_are_their_own_mean():
    """Four bits everywhere print as 4, and keep a budget of 4."""
    network = resnet18()
    model = MeanWeightBits().for_network(network, None)
    total_bits = sum(model.cost(layer, Precision(4, 8)) for layer in network)
    assert total_bits <= 4
    assert float(total_bits) == 4.0


def test_mean_weight_bits_need_a_network_with_weights():
    """A share of nothing, or of an unknown whole, is refused by name."""
    with pytest.raises(InputError, match="'mean_weight_bits': layer 'fc' is a share of a network"):
        MeanWeightBits().cost(resnet18()["fc"], Precision(4, 8))
    with pytest.raises(InputError, match="'mean_weight_bits': network 'net' has no weights"):
        MeanWeightBits().for_network(network_of(0), None)
