"""Fused modules and ties, as the graph tells them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.problems.ties import Tie

SAME_TENSOR = "read the same tensor"


class Pieces(nn.Module):
    """A few modules, and a forward function that is given."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.bn, self.other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.relu, self.pool = nn.ReLU(), nn.AvgPool2d(2)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def read(forward):
    return read_network(Pieces(forward), (torch.zeros(1, 3, 4, 4),)).description


@pytest.mark.parametrize(
    ("forward", "fused"),
    [
        (lambda m, x: m.relu(m.bn(m.a(x))), ("bn", "relu")),
        (lambda m, x: m.bn(m.a(x)), ("bn",)),
        (lambda m, x: m.relu(m.a(x)), ("relu",)),
        (lambda m, x: m.bn(m.relu(m.a(x))), ("relu",)),
        (lambda m, x: m.pool(m.a(x)), ()),
        (lambda m, x: F.relu(m.bn(m.a(x))), ("bn",)),
        (lambda m, x: m.relu(m.bn(F.relu(m.a(x)))), ()),
        (lambda m, x: m.bn(y := m.a(x)) + y, ()),
        (lambda m, x: m.relu(y := m.bn(m.a(x))) + y, ("bn",)),
        (lambda m, x: [m.bn(y := m.a(x)), y], ()),
        (lambda m, x: m.bn(m.a(m.bn(m.a(x)))), ("bn",)),
        (lambda m, x: m.other(m.a(m.bn(m.a(x)))), ()),
    ],
    ids=[
        *("conv bn relu", "conv bn", "conv relu", "bn after relu", "pool", "functional relu"),
        *("functional relu first", "conv read twice", "bn read twice", "conv is an output"),
        *("shared conv, same bn", "shared conv, two bns"),
    ],
)
def test_fused_modules_alone_read_the_layer(forward, fused):
    """Batch norm, then activation, each the only reader of what comes before; modules only."""
    assert read(forward)["a"].fused == fused


@pytest.mark.parametrize(
    ("forward", "ties"),
    [
        (lambda m, x: m.a(x) + m.b(x), [("a", "b")]),
        (lambda m, x: m.a(x) + m.b(x + 0), []),
        (lambda m, x: m.a(x) + m.b(torch.relu_(x)), []),
        (lambda m, x: m.a(x) + m.b(nn.Dropout().eval()(x)), [("a", "b")]),
        (lambda m, x: m.b(m.a(m.a(x))), []),
        (lambda m, x: sum(layer(y) for y in (x, x + 1) for layer in (m.a, m.b)), [("a", "b")]),
    ],
    ids=["same", "another", "written in between", "handed on", "chain", "same twice"],
)
def test_readers_of_one_tensor_are_tied_in_activation_bits(forward, ties):
    """Layers whose input is one stored tensor share its bits; a shared layer needs no tie."""
    assert read(forward).ties == tuple(Tie(names, "activation", SAME_TENSOR) for names in ties)


def test_outputs_of_one_operation_are_different_tensors():
    """Layers that read different outputs of one `chunk` are not tied."""

    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(2, 2) for _ in range(3))

        def forward(self, x):
            left, right = x.chunk(2, dim=1)
            return self.a(left), self.b(right), self.c(right)

    ties = read_network(Split(), (torch.zeros(1, 4),)).description.ties
    assert [tie.layers for tie in ties] == [("b", "c")]
