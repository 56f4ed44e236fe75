"""Adaptive rounding: on the grid, next to the weight, and closer in what the layer computes."""

import copy

import pytest
import torch
from torch import nn

from bitwright.networks import layers_of, read_network
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.quantization import (
    applied_quantizers,
    apply_configuration,
    calibrate,
    fake_quantize,
)
from bitwright.quantization.ptq.adaptive_rounding import RoundingRecipe, round_adaptively

QUICK = RoundingRecipe(steps=200)


def first_inputs(task, split, count):
    batches = (inputs for inputs, _ in task.batches(split, batch_size=64))
    return [inputs for inputs, _ in zip(batches, range(count), strict=False)]


def layer_error(model, name, weight, batches):
    """Mean squared change of the layer's output in the float network with another weight."""
    layer = layers_of(model, [name])[name]
    errors = []

    def compare(module, args, output):
        changed = torch.func.functional_call(module, {"weight": weight}, args)
        errors.append((changed - output).square().mean())

    # The call inside would run the hook again, were the hook on the same module.
    twin = copy.deepcopy(layer)
    handle = layer.register_forward_hook(lambda _, args, output: compare(twin, args, output))
    with torch.no_grad():
        for inputs in batches:
            model(*inputs)
    handle.remove()
    return torch.stack(errors).mean().item()


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("name", ["stem", "blocks.1.conv1", "blocks.2.conv2", "blocks.2.shortcut"])
def test_the_layer_computes_closer_than_with_nearest_rounding(trained_digits, bits, name):
    """The reconstruction error is lower on the calibration data and on data that was not seen."""
    model, task = trained_digits
    network = read_network(model, task.example_inputs()).description
    seen, unseen = first_inputs(task, "train", 6), first_inputs(task, "test", 6)
    calibration = calibrate(model, network, seen)
    configuration = BitConfiguration({name: Precision(bits, 32)})
    rounded = round_adaptively(model, network, configuration, calibration, seen, recipe=QUICK)
    layer = layers_of(model, [name])[name]
    nearest = fake_quantize(layer.weight.detach(), calibration.weight_grid(name, bits))
    adaptive = layers_of(rounded, [name])[name].weight.detach()
    for batches in (seen, unseen):
        assert layer_error(model, name, adaptive, batches) < 0.9 * layer_error(
            model, name, nearest, batches
        )


@pytest.mark.parametrize("options", [{}, {"weight_scheme": "affine"}], ids=str)
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_weights_are_neighbours_on_the_grid(model, network, batches, options, granularity):
    """Grouped, transposed, shared and linear layers: codes are those below or above the weight."""
    calibration = calibrate(model, network, batches, weight_granularity=granularity, **options)
    configuration = BitConfiguration.uniform(network.names, Precision(3, 8))
    before = copy.deepcopy(model.state_dict())
    rounded = round_adaptively(
        model, network, configuration, calibration, batches, recipe=RoundingRecipe(steps=30)
    )
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    moved = 0
    for name, layer in layers_of(rounded, network.names).items():
        grid = calibration.weight_grid(name, 3)
        original = layers_of(model, [name])[name].weight.detach()
        nearest = fake_quantize(original, grid)
        shape = [1] * original.ndim
        if grid.channel_axis is not None:
            shape[grid.channel_axis] = -1
        steps = (layer.weight - nearest).detach() / grid.scale.reshape(shape)
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
        assert steps.abs().max() < 1.5
        moved += int((steps.abs() > 0.5).sum())
        # An inner weight is never further than one step from where it was.
        distance = (layer.weight - original).abs() / grid.scale.reshape(shape)
        inside = (nearest - original).abs() / grid.scale.reshape(shape) <= 0.5001
        assert distance[inside].max() < 1.0001
    assert moved


def test_the_quantizer_keeps_the_rounded_weights(model, network, batches, calibration):
    """The configuration applied to the copy has the calibrated grids, and changes no weight."""
    configuration = BitConfiguration.uniform(network.names, Precision(4, 8))
    rounded = round_adaptively(
        model, network, configuration, calibration, batches, recipe=RoundingRecipe(steps=5)
    )
    before = {n: m.weight.detach().clone() for n, m in layers_of(rounded, network.names).items()}
    with apply_configuration(rounded, configuration, calibration):
        for name, quantizers in applied_quantizers(rounded).items():
            assert torch.equal(quantizers.weight.grid.scale, calibration.weight_grid(name, 4).scale)
            assert torch.equal(rounded.get_submodule(name).weight, before[name])


def test_layers_without_an_integer_grid_stay(model, network, batches, calibration):
    """Float32, float16 and layers outside the configuration keep their weights."""
    configuration = BitConfiguration(
        {"stem": Precision(32, 8), "up": Precision(16, 16, "float"), "fc": Precision(3, 32)}
    )
    rounded = round_adaptively(
        model, network, configuration, calibration, batches, recipe=RoundingRecipe(steps=5)
    )
    for name in ("stem", "up", "shared"):
        assert torch.equal(rounded.get_submodule(name).weight, model.get_submodule(name).weight)
    assert not torch.equal(rounded.fc.weight, model.fc.weight)


def test_the_same_seed_rounds_the_same(model, network, batches, calibration):
    """Nothing but the recipe's seed draws; torch's random state is not touched."""
    configuration = BitConfiguration({"shared": Precision(3, 8)})
    state = torch.get_rng_state()
    weights = [
        round_adaptively(
            model, network, configuration, calibration, batches, recipe=RoundingRecipe(steps=40)
        ).shared.weight
        for _ in range(2)
    ]
    assert torch.equal(*weights)
    assert torch.equal(torch.get_rng_state(), state)


def test_unusable_settings_are_refused(model, network, calibration):
    """No batches, no steps, and a warm-up of everything."""
    configuration = BitConfiguration({"fc": Precision(3, 8)})
    with pytest.raises(InputError, match="adaptive rounding needs one batch or more, got none"):
        round_adaptively(model, network, configuration, calibration, [])
    with pytest.raises(InputError, match="rounding: steps must be at least 1, got 0"):
        RoundingRecipe(steps=0)
    with pytest.raises(InputError, match="rounding: warmup must be at least 0 and below 1, got 1"):
        RoundingRecipe(warmup=1)


def test_a_grid_point_of_least_error_is_found():
    """Of one output of three inputs, the rounding is the best of all by brute force."""
    torch.manual_seed(3)
    layer = nn.Sequential(nn.Linear(6, 1, bias=False)).eval()
    mixing = torch.randn(6, 2) @ torch.randn(2, 6) + 0.1 * torch.eye(6)  # strongly correlated
    inputs = (torch.randn(256, 6) @ mixing,)
    network = read_network(layer, inputs).description
    calibration = calibrate(layer, network, [inputs], weight_rule="minmax")
    configuration = BitConfiguration({"0": Precision(3, 32)})
    weight, grid = layer[0].weight.detach(), calibration.weight_grid("0", 3)
    floor = (weight / grid.scale[:, None]).floor()
    choices = torch.cartesian_prod(*[torch.arange(2.0)] * 6)
    candidates = (floor + choices).clamp(-3, 3) * grid.scale

    def error(rows):
        return ((rows - weight) @ inputs[0].T).square().mean(dim=1)

    rounded = round_adaptively(
        layer, network, configuration, calibration, [inputs], recipe=RoundingRecipe(steps=1500)
    )
    found = error(rounded[0].weight.detach())
    ordered = error(candidates).sort().values
    assert found <= ordered[3] * 1.0001
    assert found < error(fake_quantize(weight, grid)) / 2
