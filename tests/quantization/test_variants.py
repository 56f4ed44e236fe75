"""Hybrid and integer activations at work, and which layers can take a variant."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.networks.nonlinear import nonlinear_preactivations
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError, MeasurementError
from bitwright.problems.network import LayerDescription
from bitwright.problems.precision import Precision
from bitwright.quantization import apply_configuration, calibrate, fake_quantize
from bitwright.quantization.grids import affine_grid
from bitwright.quantization.variants import (
    is_available,
    output_quantizers,
    outputs_to_observe,
    variant_quantizers,
)

from .test_apply import bytes_of


class SwishNet(nn.Module):
    """A convolution with batch norm and SiLU, one with ReLU, and a head under a sigmoid."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.body = nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 4)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-1, 1)
            self.norm.running_var.uniform_(0.2, 2)

    def forward(self, x):
        x = F.silu(self.norm(self.stem(x)), inplace=True)
        x = F.relu(self.body(x))
        return torch.sigmoid(self.head(x.mean((2, 3))))


@pytest.fixture
def swish():
    return SwishNet().eval()


@pytest.fixture
def batches():
    return [(torch.randn(4, 1, 8, 8),) for _ in range(3)]


@pytest.fixture
def traced(swish, batches):
    return read_network(swish, batches[0], "swish")


@pytest.fixture
def calibration(swish, traced, batches):
    return calibrate(
        swish,
        traced.description,
        batches,
        activation_rule="minmax",
        observe_outputs=nonlinear_preactivations(traced),
    )


def uniform(variant="", names=("stem", "head")):
    return BitConfiguration.uniform(names, Precision(4, 6, variant))


def test_integer_rounds_what_the_activation_reads(swish, batches, calibration):
    """The network is the one written out by hand, with the range of all that was calibrated on."""
    seen = torch.cat([swish.norm(swish.stem(x)) for (x,) in batches]).detach()
    logits = []
    handle = swish.head.register_forward_hook(lambda *call: logits.append(call[2].detach()))
    for (x,) in batches:
        swish(x)
    handle.remove()
    logits = torch.cat(logits)

    def q(name, value):
        return fake_quantize(value, calibration.activation_grid(name, 6))

    (x,) = batches[0]
    w = {
        n: fake_quantize(swish.get_submodule(n).weight, calibration.weight_grid(n, 4))
        for n in ("stem", "head")
    }
    y = swish.norm(F.conv2d(q("stem", x), w["stem"]))
    y = F.relu(swish.body(F.silu(fake_quantize(y, affine_grid(seen.min(), seen.max(), 6)))))
    y = F.linear(q("head", y.mean((2, 3))), w["head"], swish.head.bias)
    expected = torch.sigmoid(fake_quantize(y, affine_grid(logits.min(), logits.max(), 6)))
    with apply_configuration(swish, uniform("integer"), calibration):
        torch.testing.assert_close(swish(x), expected, rtol=0, atol=0)


def test_hybrid_computes_what_plain_integers_do(swish, batches, calibration):
    """Nothing rounds the activation's input in either; they differ in what they say it costs."""
    (x,) = batches[0]
    with apply_configuration(swish, uniform(), calibration):
        plain = swish(x)
    with apply_configuration(swish, uniform("hybrid"), calibration):
        assert torch.equal(swish(x), plain)
        assert output_quantizers(swish) == {}
    with apply_configuration(swish, uniform("integer"), calibration):
        assert not torch.equal(swish(x), plain)
        assert list(output_quantizers(swish)) == ["norm", "head"]


def test_factors_and_a_rounded_output_work_together(swish, batches, calibration):
    """`svd-K+integer` is both: a weight of rank K, and logits on the grid of the output."""
    forms = BitConfiguration({"head": Precision(8, 6, "svd-2+integer")})
    with apply_configuration(swish, forms, calibration):
        assert torch.linalg.matrix_rank(swish.head.weight) == 2
        grid = output_quantizers(swish)["head"].grid
        codes = torch.logit(swish(*batches[0])) / grid.scale
        assert torch.allclose(codes, codes.round(), atol=1e-2)


def test_removal_gives_back_every_byte(swish, batches, calibration):
    """Outputs, submodules and hooks are as before, and a copy goes on by itself."""
    before, (x,) = bytes_of(swish), batches[0]
    outputs, modules = swish(x), [name for name, _ in swish.named_modules()]
    applied = apply_configuration(swish, uniform("integer"), calibration)
    twin, expected = copy.deepcopy(swish), swish(x)
    applied.remove()
    assert bytes_of(swish) == before
    assert torch.equal(swish(x), outputs)
    assert [name for name, _ in swish.named_modules()] == modules
    assert not any(vars(m)[key] for m in swish.modules() for key in vars(m) if "hooks" in key)
    assert torch.equal(twin(x), expected)


def test_gradients_pass_the_rounding_of_outputs(swish, batches, calibration):
    """The weights before a rounded output still learn."""
    with apply_configuration(swish, uniform("integer"), calibration):
        swish(*batches[0]).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in swish.parameters())


def test_observing_outputs_changes_no_input_range(swish, traced, batches, calibration):
    """Calibration sees the same inputs with and without outputs, and leaves no hook behind."""
    plain = calibrate(swish, traced.description, batches, activation_rule="minmax")
    for name in traced.description.names:
        ours, theirs = calibration.activation_grid(name, 8), plain.activation_grid(name, 8)
        assert torch.equal(ours.scale, theirs.scale)
    assert not any(module._forward_hooks for module in swish.modules())


def test_an_output_that_is_not_finite_names_its_layer(swish, traced, batches):
    """NaN behind a layer is a measurement error with the layer's name."""
    with torch.no_grad():
        swish.norm.bias[0] = torch.nan
    with pytest.raises(MeasurementError, match="layer 'stem': its output holds NaN or infinity"):
        calibrate(swish, traced.description, batches, observe_outputs={"stem": "norm"})


def test_only_what_a_configuration_rounds_is_observed(traced):
    """Hybrid and plain layers need nothing; a layer before a ReLU cannot take `integer`."""
    mixed = {"stem": Precision(4, 6, "integer"), "body": Precision(4, 6)}
    mixed["head"] = Precision(4, 6, "hybrid")
    assert outputs_to_observe(traced, BitConfiguration(mixed)) == {"stem": "norm"}
    with pytest.raises(InputError, match="layer 'body': w4a6-integer is for layers before a nonl"):
        outputs_to_observe(traced, uniform("integer", ["body"]))


FC = LayerDescription("fc", "Linear", 400, 400, (1, 40), (1, 10))
CONV = LayerDescription("conv", "Conv2d", 432, 432 * 64, (1, 3, 8, 8), (1, 16, 8, 8))


@pytest.mark.parametrize(
    ("layer", "label", "available"),
    [
        (FC, "w4a8", True),
        (FC, "w16a16-bfloat", True),
        (FC, "w4a8-svd-7", True),
        (FC, "w4a8-svd-8", False),
        (FC, "w4a8-hybrid", False),
        (FC, "w4a8-svd-7+hybrid", False),
        (CONV, "w4a8-svd-1", False),
        (CONV, "w4a8-hybrid", True),
        (CONV, "w4a8-integer", True),
    ],
)
def test_variants_are_there_for_some_layers(layer, label, available):
    """SVD where 10 x 40 / 50 = 8 ranks save nothing any more; hybrid where the graph says so."""
    assert is_available(layer, Precision.parse(label), {"conv"}) is available


def test_an_unknown_variant_is_refused(calibration):
    """A label that no family carries out is named."""
    with pytest.raises(InputError, match="variant 'posit' of w8a8-posit is unknown"):
        variant_quantizers("head", Precision(8, 8, "posit"), calibration)
