"""Applying and removing configurations."""

import copy
import io

import pytest
import torch
from torch import nn

from bitwright.networks import layers_of, read_network
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.precision import FLOAT32, Precision
from bitwright.quantization import (
    applied_quantizers,
    apply_configuration,
    calibrate,
    fake_quantize,
    quantized_copy,
)

W4A8 = Precision(4, 8)
LAYERS = ("stem", "shared", "up", "fc")


def uniform(precision=W4A8):
    return BitConfiguration.uniform(LAYERS, precision)


def bytes_of(model):
    """The state dict, byte for byte, keys in order."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getvalue()


def by_hand(model, calibration, configuration, x):
    """The network of the tests at a configuration, written out with functional calls."""

    def q(name, value):
        return fake_quantize(
            value, calibration.activation_grid(name, configuration[name].activation_bits)
        )

    w = {
        name: fake_quantize(
            layer.weight, calibration.weight_grid(name, configuration[name].weight_bits)
        )
        for name, layer in layers_of(model, LAYERS).items()
    }
    f = nn.functional
    x = f.relu(model.bn(f.conv2d(q("stem", x), w["stem"], padding=1)))
    y = x
    for _ in range(2):
        y = f.conv2d(q("shared", y), w["shared"], model.shared.bias, padding=1, groups=4)
    y = x + f.silu(y)
    y = f.conv_transpose2d(q("up", y), w["up"], model.up.bias, stride=2).mean((2, 3))
    return f.linear(q("fc", y), w["fc"], model.fc.bias)


@pytest.mark.parametrize("training", [False, True])
def test_outputs_are_those_of_the_network_quantized_by_hand(model, batches, calibration, training):
    """In either mode, with a shared and a transposed layer and an input given by keyword."""
    model.train(training)
    configuration = BitConfiguration(
        {"stem": Precision(8, 8), "shared": Precision(2, 4), "up": W4A8, "fc": Precision(3, 6)}
    )
    (x,) = batches[0]
    expected = by_hand(copy.deepcopy(model), calibration, configuration, x)
    with apply_configuration(model, configuration, calibration):
        torch.testing.assert_close(model(x), expected, rtol=0, atol=0)


def test_removal_gives_back_every_byte(model, batches, calibration):
    """After removal state dict, outputs, classes, submodules and hooks are as before."""
    before, outputs = bytes_of(model), model(*batches[0])
    modules = [(name, type(module)) for name, module in model.named_modules()]
    parameters = {name: id(p) for name, p in model.named_parameters()}
    applied = apply_configuration(model, uniform(), calibration)
    assert not torch.equal(model(*batches[0]), outputs)
    applied.remove()
    applied.remove()
    assert bytes_of(model) == before
    assert torch.equal(model(*batches[0]), outputs)
    assert [(name, type(module)) for name, module in model.named_modules()] == modules
    assert {name: id(p) for name, p in model.named_parameters()} == parameters
    assert not any(vars(m)[key] for m in model.modules() for key in vars(m) if "hooks" in key)


def test_a_block_removes_also_after_an_error(model, calibration):
    """The handle is a context manager."""
    before = bytes_of(model)
    applied = apply_configuration(model, uniform(), calibration)
    assert applied.configuration == uniform()
    with pytest.raises(RuntimeError), applied:
        model(torch.zeros(1))
    assert bytes_of(model) == before


def test_layers_that_are_left_out_or_in_float_are_untouched(model, calibration):
    """Only the layers named with fewer than 32 bits change, side by side."""
    configuration = BitConfiguration(
        {"stem": FLOAT32, "shared": Precision(4, 32), "up": Precision(32, 8)}
    )
    weights = {name: layer.weight.clone() for name, layer in layers_of(model, LAYERS).items()}
    with apply_configuration(model, configuration, calibration):
        changed = [n for n in LAYERS if not torch.equal(model.get_submodule(n).weight, weights[n])]
        hooked = [n for n in LAYERS if model.get_submodule(n)._forward_pre_hooks]
    assert (changed, hooked) == (["shared"], ["up"])


def test_all_float_changes_nothing(model, batches, calibration):
    """A configuration of 32 bits everywhere computes exactly what the model does."""
    expected = model(*batches[0])
    with apply_configuration(model, uniform(FLOAT32), calibration):
        assert torch.equal(model(*batches[0]), expected)


@pytest.mark.parametrize(
    ("label", "dtype"), [("w16a16-float", torch.float16), ("w16a16-bfloat", torch.bfloat16)]
)
def test_short_floats_are_casts_with_a_gradient_that_passes(model, calibration, label, dtype):
    """The weight is cast there and back; its gradient is not rounded."""
    with apply_configuration(model, uniform(Precision.parse(label)), calibration):
        weight, original = model.fc.weight, model.fc.parametrizations.weight.original
        assert torch.equal(weight, original.to(dtype).float())
        upstream = torch.randn_like(weight) * 1e-12
        weight.backward(upstream)
        assert torch.equal(original.grad, upstream)


def test_sixteen_bits_without_a_variant_are_integers(model, calibration):
    """w16a16 is a uniform grid of 2^16 - 1 levels."""
    with apply_configuration(model, uniform(Precision(16, 16)), calibration):
        codes = model.fc.weight / calibration.weight_grid("fc", 16).scale[:, None]
        assert torch.allclose(codes, codes.round(), atol=0.01)
        assert codes.abs().max() > 2**14


def test_gradients_reach_the_original_weights(model, batches, calibration):
    """The gradient of a weight is that of the quantized weight where it is not clipped."""
    applied = apply_configuration(model, uniform(Precision(3, 8)), calibration)
    model(*batches[0]).square().sum().backward()
    applied.remove()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_training_under_a_configuration_trains_the_model(model, batches, calibration):
    """An optimizer made before applying moves the weights that removal gives back."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.stem.weight.clone()
    with apply_configuration(model, uniform(), calibration):
        model(*batches[0]).square().sum().backward()
        optimizer.step()
    assert not torch.equal(model.stem.weight, before)


def test_a_second_configuration_is_refused_until_the_first_is_removed(model, calibration):
    """Two configurations at once would quantize twice."""
    applied = apply_configuration(model, BitConfiguration({"fc": W4A8}), calibration)
    with pytest.raises(InputError, match="already quantized; remove that configuration first"):
        apply_configuration(model, BitConfiguration({"up": W4A8}), calibration)
    applied.remove()
    apply_configuration(model, BitConfiguration({"up": W4A8}), calibration).remove()


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"fc": W4A8, "shard": W4A8}, "no layer 'shard'; did you mean 'shared'"),
        ({"fc": W4A8, "bn": W4A8}, "no layer 'bn'"),
        ({"fc": W4A8, "up": Precision(1, 8)}, "symmetric grid takes 2 to 24 bits, got 1"),
        ({"up": Precision(4, 4, "posit")}, "layer 'up': variant 'posit' of w4a4-posit is unknown"),
        ({"up": Precision(4, 4, "svd-3")}, "layer 'up': w4a4-svd-3 needs a Linear layer"),
        ({"fc": Precision(4, 4, "svd-4")}, "layer 'fc': the rank of w4a4-svd-4 must be at most 3"),
        (
            {"fc": Precision(4, 32, "hybrid")},
            "variant 'hybrid' of w4a32-hybrid needs fewer than 32",
        ),
        (
            {"up": Precision(4, 4, "integer")},
            "layer 'up': w4a4-integer rounds its output, whose ra",
        ),
        ({"up": Precision(8, 8, "float")}, "layer 'up': variant 'float' of w8a8-float needs 16"),
    ],
)
def test_what_cannot_be_applied_leaves_the_model_alone(model, calibration, configuration, message):
    """The error names the layer or the rule, and nothing was quantized before it."""
    before = bytes_of(model)
    with pytest.raises(InputError, match=message):
        apply_configuration(model, BitConfiguration(configuration), calibration)
    assert bytes_of(model) == before


def test_a_computed_weight_is_refused(batches):
    """A layer under weight norm has no plain weight; its name is in the error."""
    model = nn.Sequential(nn.Linear(6, 2), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    network = read_network(model, batches[0]).description
    calibration = calibrate(model, network, batches)
    configuration = BitConfiguration({"0": W4A8, "1": W4A8})
    with pytest.raises(InputError, match="layer '1': its weight is computed"):
        apply_configuration(model, configuration, calibration)
    assert type(model[0]) is nn.Linear


def test_a_quantized_copy_is_independent(model, batches, calibration):
    """Training the copy moves its weights and leaves model and calibration alone."""
    before = bytes_of(model)
    twin = quantized_copy(model, uniform(), calibration).train()
    with apply_configuration(model, uniform(), calibration):
        assert torch.equal(twin.eval()(*batches[0]), model(*batches[0]))
    optimizer = torch.optim.SGD(twin.train().parameters(), lr=0.1)
    twin(*batches[0]).square().sum().backward()
    optimizer.step()
    assert bytes_of(model) == before
    assert not torch.equal(twin.fc.weight, model.fc.weight)
    assert twin.bn.running_mean.ne(model.bn.running_mean).any()


def test_a_deep_copy_of_a_quantized_model_is_quantized_by_itself(model, batches, calibration):
    """The copy keeps its own quantizers when the configuration of the first is removed."""
    applied = apply_configuration(model, uniform(), calibration)
    expected = model(*batches[0])
    twin = copy.deepcopy(model)
    applied.remove()
    assert torch.equal(twin(*batches[0]), expected)
    twin.fc.input_quantizer.scale.mul_(10)
    assert not torch.equal(twin(*batches[0]), expected)
    assert torch.equal(quantized_copy(model, uniform(), calibration)(*batches[0]), expected)


def test_a_quantized_model_keeps_its_grids_in_the_state_dict(model, batches, calibration):
    """A state dict carries weights and grids to another copy with the same configuration."""
    first = quantized_copy(model, uniform(), calibration)
    other = quantized_copy(model, uniform(), calibration)
    with torch.no_grad():
        for tensor in (*first.parameters(), *first.buffers()):
            if tensor.is_floating_point():
                tensor.mul_(1.25)
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(*batches[0]), other(*batches[0]))


def test_the_quantizers_at_work_are_named_by_layer(model, calibration):
    """Every quantized side of every layer is found under the layer's name, and none of a float model."""
    assert applied_quantizers(model) == {}
    names = LAYERS[:2]
    bits = {names[0]: Precision(4, 8), names[1]: Precision(3, 32)}
    with apply_configuration(model, BitConfiguration(bits), calibration):
        found = applied_quantizers(model)
        assert list(found) == list(names)
        assert found[names[0]].weight.grid.quant_max == 7
        assert found[names[0]].input.grid.quant_max == 255
        assert found[names[1]].weight.grid.quant_max == 3
        assert found[names[1]].input is None
