"""Which batch norms fold, and that sizes, the folded copy and the export go by one plan."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.networks.norms import plan_folding
from bitwright.problems import BitConfiguration, Precision
from bitwright.quantization import calibrate, fold_batch_norms, quantized_copy
from bitwright.quantization.export.parts import take_apart


class Calls(nn.Module):
    """A layer, a norm, and a function that calls them."""

    def __init__(self, layer, norm, call):
        super().__init__()
        self.layer, self.norm, self.call = layer, norm, call
        self.last = nn.LazyLinear(2)

    def forward(self, x):
        result = self.call(self, x)
        first, *rest = result if isinstance(result, tuple) else (result,)
        return self.last(first.flatten(1)), *rest


class OneNorm(nn.Module):
    """Two layers whose outputs go through one norm."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(3, 5, 1, bias=False), nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)  # fmt: skip

    def forward(self, x):
        return self.norm(self.a(x)) * self.norm(self.b(x))


def plain(net, x):
    return net.norm(net.layer(x))


def also_an_output(net, x):
    y = net.layer(x)
    return net.norm(y), y


def weight_used_elsewhere(net, x):
    return net.norm(net.layer(x)) + F.conv2d(x, net.layer.weight)


def norm_of_something_else(net, x):
    return net.norm(net.layer(x)) + net.norm(x)


CASES = [
    (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), plain, (4, 5, 5), ""),
    (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), also_an_output, (4, 5, 5), "something else reads"),
    (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), weight_used_elsewhere, (4, 5, 5), "used elsewhere too"),
    (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), norm_of_something_else, (4, 5, 5), "follow a layer"),
    (nn.Linear(5, 4), nn.BatchNorm1d(4), plain, (4, 5), "its channels are not"),
    (nn.ConvTranspose2d(4, 4, 2, groups=2), nn.BatchNorm2d(4), plain, (4, 5, 5), "share scales"),
]


@pytest.mark.parametrize(("layer", "norm", "call", "shape", "reason"), CASES)
def test_one_plan_for_all(layer, norm, call, shape, reason):
    """What the plan folds counts as a bias in the sizes and is gone from the export; what it leaves stays."""
    torch.manual_seed(0)
    model, inputs = Calls(layer, norm, call), (torch.randn(3, *shape),)
    model.eval()(*inputs)  # the lazy layer takes its size
    nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.normal_(norm.running_mean)
    traced = read_network(model, inputs)
    plan = plan_folding(model, traced, into_scales=True)
    assert dict(plan.folds) == ({} if reason else {"layer": "norm"})
    assert reason in plan.left.get("norm", "")
    stays = 4 * 4 * norm.num_features if reason else 0
    assert traced.description.other_bytes == stays
    network = traced.description
    names = network.quantizable_names
    configuration = BitConfiguration.uniform(names, Precision(8, 8))
    quantized = quantized_copy(model, configuration, calibrate(model, network, [inputs]))
    parts = take_apart(quantized, inputs)
    assert parts.norms == plan.folds
    with torch.no_grad():  # the export's float model reads inputs that are not rounded
        assert (parts.model(*inputs)[0] - model(*inputs)[0]).abs().max() < 0.1


def test_groups_that_share_scales_fold_before_quantization():
    """Float weights have no scales to share: the factors of a transposed convolution's groups go into them."""
    torch.manual_seed(0)
    layer, norm = nn.ConvTranspose2d(4, 4, 2, groups=2), nn.BatchNorm2d(4)
    model, inputs = nn.Sequential(layer, norm).eval(), (torch.randn(2, 4, 5, 5),)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    traced = read_network(model, inputs)
    assert plan_folding(model, traced).folds == {"0": "1"}
    folded = fold_batch_norms(model, traced)
    torch.testing.assert_close(folded(*inputs), model(*inputs), rtol=1e-4, atol=1e-4)
    assert read_network(folded, inputs).description.other_bytes == 0


def test_a_norm_of_two_layers_is_two_biases():
    """The sizes count a bias for each layer that takes over the shared norm, and the norm itself no more."""
    network = read_network(OneNorm().eval(), (torch.randn(2, 3, 4, 4),)).description
    assert [layer.bias_parameters for layer in network] == [5, 5]
    assert network.other_bytes == 0
