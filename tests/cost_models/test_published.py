"""Published configurations, from torchvision's models through reading, ties and cost models.

Figures of HAWQ-V3 (Yao et al. 2021, uniform bits, first and last layer at 8) and of the public
repository of OMPQ (MAC-AutoML/OMPQ, Ma et al. 2023), to the digits that follow from the layer shapes.
"""

from __future__ import annotations

import functools
from fractions import Fraction

import pytest
import torch

from bitwright.cost_models import BitOperations, MeanWeightBits, WeightSize, tabulate
from bitwright.networks import pin, read_network
from bitwright.networks.torchvision_import import import_torchvision
from bitwright.problems import AllocationProblem, Choice, LayerChoices, Precision

MIB_IN_BITS, GIGA = 8 * 2**20, 10**9
W8A8 = Precision(8, 8)


def torchvision_model(name):
    return import_torchvision().models.get_model(name, weights=None)


def resnet18():
    return torchvision_model("resnet18")


def resnet50():
    """As torchvision has it: the stride of a block is in conv2."""
    return torchvision_model("resnet50")


def resnet50_v1():
    """As HAWQ-V3 has it, and He et al.: the stride of a block is in conv1."""
    model = torchvision_model("resnet50")
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return model


def mobilenet_v2():
    return torchvision_model("mobilenet_v2")


def costs_of(network, configuration):
    """The exact costs of one configuration, through table and problem; ties must hold."""
    candidates = {name: (precision,) for name, precision in configuration.items()}
    models = [BitOperations(), WeightSize(), MeanWeightBits()]
    costs = tabulate(network, candidates, models)
    layers = [
        LayerChoices(name, tuple(Choice(p, 0.0, by_cost) for p, by_cost in of.items()))
        for name, of in costs.of.items()
    ]
    problem = AllocationProblem.from_layers("p", layers, ties=network.ties)
    assert not problem.broken_ties(problem.choice_start[:-1])
    found = problem.evaluate(problem.choice_start[:-1]).costs
    mean = found["size_bits"] / network.parameters
    assert 0 <= mean - found["mean_weight_bits"] < Fraction(1, 10**15)
    assert float(found["mean_weight_bits"]) == float(mean)
    return found


@functools.cache
def read(build, size=224, ties=()):
    return read_network(build(), (torch.zeros(1, 3, size, size),), ties=ties).description


@pytest.mark.parametrize(
    ("build", "weights", "macs"),
    [
        (resnet18, 11_678_912, 1_814_073_344),
        (resnet50_v1, 25_502_912, 3_857_973_248),
        (resnet50, 25_502_912, 4_089_184_256),
    ],
    ids=["resnet18", "resnet50, stride in conv1", "resnet50, stride in conv2"],
)
def test_weights_and_multiply_adds(build, weights, macs):
    """At 8 bits everywhere a network has 8 bits per weight and 64 bit operations per multiply-add."""
    network = read(build, ties=("hawq_v3",))
    costs = costs_of(network, dict.fromkeys(network.names, W8A8))
    assert (network.parameters, network.macs) == (weights, macs)
    assert (costs["size_bits"], costs["bitops"]) == (8 * weights, 64 * macs)


@pytest.mark.parametrize(
    ("build", "bits", "mib", "gbops"),
    [
        (resnet18, 8, 11.138, 116.10),
        (resnet18, 4, 5.818, 34.71),
        (resnet50_v1, 8, 24.321, 246.91),
        (resnet50_v1, 4, 13.142, 67.49),
    ],
    ids=["resnet18 W8A8", "resnet18 W4A4", "resnet50 W8A8", "resnet50 W4A4"],
)
def test_uniform_bits_of_hawq_v3(build, bits, mib, gbops):
    """Size and bit operations under the ties of HAWQ-V3, its first and last layer pinned to 8 bits."""
    network = pin(read(build, ties=("hawq_v3",)), {"first": W8A8, "last": W8A8})
    configuration = {layer.name: layer.candidates((Precision(bits, bits),))[0] for layer in network}
    costs = costs_of(network, configuration)
    assert round(float(costs["size_bits"] / MIB_IN_BITS), 3) == mib
    assert round(float(costs["bitops"] / GIGA), 2) == gbops


# conv1, the 16 convolutions of the blocks, fc; a shortcut takes the bits of its block's last one.
RESNET18 = [
    ("4 3 4 4 4 4 4 3 4 4 2 2 2 2 2 2 2 2", 2.995, 3.0),
    ("4 3 3 4 4 4 4 4 4 4 3 3 4 3 2 2 2 3", 3.495, 3.5),
    ("4 4 4 4 4 4 4 3 3 3 3 3 4 3 2 3 3 3", 3.996, 4.0),
    ("4 3 3 4 4 4 4 4 4 4 3 3 4 4 3 3 3 3", 4.495, 4.5),
    ("4 3 3 3 4 4 4 3 4 3 4 3 4 3 3 4 4 4", 4.995, 5.0),
    ("4 4 4 4 4 4 4 4 4 4 3 4 4 4 4 4 4 4", 5.495, 5.5),
]


@pytest.mark.parametrize(("bits", "mib", "label"), RESNET18)
def test_configurations_of_ompq_for_resnet18(bits, mib, label):
    """Six mixed configurations have the sizes that stand beside them, under the ties of OMPQ."""
    network = read(resnet18, 64, ties=("ompq",))
    leader = {tie.layers[1]: tie.layers[0] for tie in network.ties}
    chosen = [name for name in network.names if name not in leader]
    width = dict(zip(chosen, map(int, bits.split()), strict=True))
    configuration = {n: Precision(width[leader.get(n, n)], 8) for n in network.names}
    size = float(costs_of(network, configuration)["size_bits"] / MIB_IN_BITS)
    assert (round(size, 3), round(size, 1)) == (mib, label)


MOBILENET_V2 = [
    ([4] * 52 + [3], 1.502, 1.5),
    ([4] * 50 + [3, 3, 2], 1.264, 1.3),
    ([4] * 41 + [3, 3, 4, 3, 3, 4, 3, 3, 4, 2, 2, 2], 1.076, 1.1),
]


@pytest.mark.parametrize(
    ("widths", "mib", "label"), MOBILENET_V2, ids=[str(label) for *_, label in MOBILENET_V2]
)
def test_configurations_of_ompq_for_mobilenet_v2(widths, mib, label):
    """Three configurations of the 53 layers in their order."""
    network = read(mobilenet_v2, 64, ties=("ompq",))
    assert (len(network), network.parameters) == (53, 3_469_760)
    configuration = {n: Precision(b, 8) for n, b in zip(network.names, widths, strict=True)}
    size = float(costs_of(network, configuration)["size_bits"] / MIB_IN_BITS)
    assert (round(size, 3), round(size, 1)) == (mib, label)
