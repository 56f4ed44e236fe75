"""What a network stores beside its weights, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bitwright.networks import read_network
from bitwright.problems.formats import network_document
from bitwright.problems.formats.network_json import network_from_document


class Net(nn.Module):
    """Norms that fold and norms that do not."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.read_twice = nn.Conv2d(4, 4, 3)
        self.stays = nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(4, 6, 2, groups=2)
        self.up_norm = nn.BatchNorm2d(6)
        self.scale = nn.Parameter(torch.ones(3))
        self.fc = nn.Linear(6, 3)
        self.fc_norm = nn.BatchNorm1d(3)

    def forward(self, x):
        y = self.read_twice(torch.relu(self.norm(self.conv(x))))
        y = self.up_norm(self.up(y + self.stays(y)))
        return self.fc_norm(self.fc(y.mean((2, 3)))) * self.scale


@pytest.fixture(scope="module")
def network():
    return read_network(Net().eval(), (torch.randn(2, 2, 8, 8),), "net").description


def test_biases(network):
    """A norm that alone reads a layer counts as its bias, four figures per channel become one."""
    assert [(layer.name, layer.bias_parameters) for layer in network] == [
        ("conv", 4),
        ("read_twice", 4),
        ("up", 6),
        ("fc", 3),
    ]


def test_norms_in_scales(network):
    """Channels of the norms that go into a layer's scales; a bias of its own is none of those."""
    assert [layer.folded_channels for layer in network] == [4, 0, 0, 3]


def test_scales(network):
    """One per output channel; the groups of a transposed convolution share those of axis 1."""
    assert [layer.weight_channels for layer in network] == [4, 4, 3, 3]


def test_what_belongs_to_no_layer(network):
    """Norms beside an addition or behind groups stay, with four figures per channel, and so does a Parameter."""
    assert network.other_bytes == 4 * (4 * 4 + 4 * 6 + 3)


def test_it_is_kept_in_the_file(network):
    """The description reads back with all sizes."""
    assert network_from_document(network_document(network), "n.json") == network
