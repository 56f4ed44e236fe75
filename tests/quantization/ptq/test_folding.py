"""Folded batch norms: the same function, the same names, and what cannot be folded stays."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.networks.norms import plan_folding
from bitwright.quantization.ptq.folding import fold_batch_norms


def lived(model):
    """The model with norms that have seen data and were trained, in evaluation mode."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.running_mean is not None:
                module.running_mean.normal_()
                module.running_var.uniform_(0.2, 3)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return model.eval()


class Chain(nn.Module):
    """Any layer with its norm, and a convolution behind them."""

    def __init__(self, layer, norm, then=None):
        super().__init__()
        self.layer, self.norm, self.then = layer, norm, then or nn.Identity()

    def forward(self, x):
        return self.then(F.relu(self.norm(self.layer(x))))


class Shared(nn.Module):
    """One convolution and one norm at two resolutions."""

    def __init__(self, norms=1):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4) for _ in range(norms)])

    def forward(self, x):
        fine = self.norms[0](self.conv(x))
        return fine, self.norms[-1](self.conv(F.max_pool2d(x, 2)))


class ReadTwice(nn.Module):
    """The norm's layer is read by an addition too; another norm follows no layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.last = nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        return self.last(self.norm(y) + y)


class TwoReaders(nn.Module):
    """Two convolutions read one norm's output, and one norm reads two convolutions."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.a, self.b, self.norm = nn.Conv2d(4, 5, 1), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)

    def forward(self, x):
        x = self.stem_norm(self.stem(x))
        return self.norm(self.a(x)) * self.norm(self.b(x))


CHAINS = [
    (Chain(nn.Conv1d(4, 6, 3, bias=False), nn.BatchNorm1d(6)), (4, 9)),
    (Chain(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)), (4, 6, 6)),
    (Chain(nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.BatchNorm2d(4, affine=False)), (4, 6, 6)),
    (Chain(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3, eps=0.1)), (2, 4, 4, 4)),
    (Chain(nn.ConvTranspose1d(4, 6, 3), nn.BatchNorm1d(6)), (4, 9)),
    (Chain(nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)), (4, 6, 6)),
    (Chain(nn.ConvTranspose3d(2, 3, 2, bias=False), nn.BatchNorm3d(3)), (2, 4, 4, 4)),
    (Chain(nn.Linear(5, 7), nn.BatchNorm1d(7)), (5,)),
    (Shared(), (3, 12, 12)),
    (TwoReaders(), (3, 6, 6)),
]


@pytest.mark.parametrize(
    ("model", "shape"), CHAINS, ids=lambda v: v if v.__class__ is tuple else ""
)
def test_the_folded_copy_computes_the_same(model, shape):
    """Outputs agree to float rounding, no norm is left, and the network reads the same."""
    model, images = lived(model), (torch.randn(3, *shape),)
    before = copy.deepcopy(model.state_dict())
    traced = read_network(model, images)
    folded = fold_batch_norms(model, traced)
    torch.testing.assert_close(folded(*images), model(*images), rtol=1e-4, atol=1e-4)
    kinds = [type(module).__name__ for module in folded.modules()]
    assert not any(kind.startswith("BatchNorm") for kind in kinds)
    assert not plan_folding(model, traced).left
    again = read_network(folded, images).description
    assert again.names == traced.description.names
    assert again.macs == traced.description.macs
    assert dict(model.state_dict()).keys() == before.keys()
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_what_follows_more_than_the_norm_is_left():
    """A layer's output that something else reads keeps its norm, and so does a sum."""
    model = lived(ReadTwice())
    images = (torch.randn(2, 3, 5, 5),)
    plan = plan_folding(model, read_network(model, images))
    assert not plan.folds
    assert plan.left == {
        "norm": "something else reads the output of layer 'conv' too",
        "last": "it does not follow a layer directly",
    }
    folded = fold_batch_norms(model, read_network(model, images))
    torch.testing.assert_close(folded(*images), model(*images), rtol=0, atol=0)


def test_a_shared_layer_with_two_norms_is_left():
    """One weight cannot take over two norms."""
    model, images = lived(Shared(norms=2)), (torch.randn(1, 3, 12, 12),)
    plan = plan_folding(model, read_network(model, images))
    assert not plan.folds
    assert set(plan.left) == {"norms.0", "norms.1"}


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (
            Chain(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
            (3, 4, 4),
            "keeps no running statistics",
        ),
        (
            Chain(nn.Linear(5, 6), nn.BatchNorm1d(4)),
            (4, 5),
            "its channels are not the output channels of layer 'layer'",
        ),
        (
            Chain(nn.Linear(5, 4), nn.BatchNorm1d(4)),
            (4, 5),
            "its channels are not the output channels of layer 'layer'",
        ),
        (
            Chain(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4)),
            (3, 4, 4),
            "the weight of layer 'layer' is computed",
        ),
        (Chain(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)), (3, 4, 4), "follow a layer"),
    ],
    ids=["no statistics", "other axis", "other axis of equal size", "weight norm", "no layer"],
)
def test_norms_that_cannot_be_folded_are_listed(model, shape, reason):
    """The plan says why, and the copy computes the same with the norm in place."""
    model, images = lived(model), (torch.randn(2, *shape),)
    traced = read_network(model, images)
    assert reason in plan_folding(model, traced).left["norm"]
    torch.testing.assert_close(
        fold_batch_norms(model, traced)(*images), model(*images), rtol=0, atol=0
    )


def test_a_norm_under_two_names_is_replaced_at_both():
    """The same norm in two places of the module tree is gone from both."""
    model = Chain(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    model.alias = nn.Sequential(model.norm)
    model, images = lived(model), (torch.randn(2, 3, 4, 4),)
    folded = fold_batch_norms(model, read_network(model, images))
    assert isinstance(folded.alias[0], nn.Identity)
    torch.testing.assert_close(folded(*images), model(*images), rtol=1e-4, atol=1e-4)
