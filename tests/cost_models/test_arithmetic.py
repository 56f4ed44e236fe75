"""Bit operations and weight sizes against published figures of ResNet18."""

import pytest

from bitwright.cost_models import BitOperations, WeightSize
from bitwright.problems import FLOAT32, Precision
from bitwright.problems.costing import CostModel

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
