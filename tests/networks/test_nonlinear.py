"""Which layers a nonlinear activation follows."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.networks.nonlinear import nonlinear_preactivations


class Forms(nn.Module):
    """Every way of writing an activation, and what must not count."""

    def __init__(self):
        super().__init__()
        self.module, self.act = nn.Conv2d(4, 4, 1), nn.SiLU(inplace=True)
        self.normed, self.norm = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.swish = nn.Conv2d(4, 4, 1)
        self.relu, self.relu6 = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.twice, self.mixed = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.a, self.b, self.common = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.added = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.act(self.module(x))
        x = F.gelu(self.norm(self.normed(x)))
        y = self.swish(x)
        x = y * torch.sigmoid(y)
        x = F.relu(self.relu(x))
        x = F.relu6(self.relu6(x))
        x = F.hardswish(self.twice(F.hardswish(self.twice(x))))
        x = F.relu(self.mixed(torch.tanh(self.mixed(x))))
        x = F.mish(self.common(self.a(x))) + F.mish(self.common(self.b(x)))
        x = F.silu(x + self.added(x))
        return self.head(x.mean((2, 3))).softmax(dim=1)


def test_layers_before_nonlinear_activations_are_found():
    """Modules, functions, methods and `x * sigmoid(x)` count; ReLUs, sums and shared norms do not."""
    traced = read_network(Forms(), (torch.randn(1, 4, 3, 3),))
    assert nonlinear_preactivations(traced) == {
        "module": "module",
        "normed": "norm",
        "swish": "swish",
        "twice": "twice",
        "head": "head",
    }


@pytest.mark.parametrize(
    ("activation", "counts"),
    [
        *((kind, True) for kind in (nn.SiLU, nn.Sigmoid, nn.GELU, nn.Tanh, nn.Mish, nn.Hardswish)),
        *((kind, True) for kind in (nn.Hardsigmoid, nn.Softplus, nn.ELU, nn.LogSigmoid, nn.Softsign)),
        *((kind, False) for kind in (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Hardtanh)),
    ],
)  # fmt: skip
def test_a_kind_counts_if_it_is_not_piecewise_linear(activation, counts):
    """Piecewise linear functions need no table; hardswish is quadratic, hardsigmoid saturates twice."""
    traced = read_network(nn.Sequential(nn.Linear(3, 3), activation()), (torch.randn(2, 3),))
    assert nonlinear_preactivations(traced) == ({"0": "0"} if counts else {})
