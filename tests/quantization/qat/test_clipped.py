"""Training under clips, and the ranges that quantization reads from them."""

import copy

import pytest
import torch
from torch.nn import functional as F

from bitwright.networks import layers_of, read_network
from bitwright.pipeline.evaluating import evaluate
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.quantization import TrainingRecipe, apply_configuration, calibrate, fit
from bitwright.quantization.qat.clipped import (
    Clip,
    ClipRanges,
    clip_calibration,
    clip_ranges,
    clipped_copy,
    read_clips,
    settled,
)
from bitwright.tasks import Digits

LAYERS = ("stem", "shared", "up", "fc")


@pytest.fixture
def ranges(calibration):
    return clip_ranges(calibration, weight_share=0.8, input_share=0.9)


def test_the_copy_computes_with_clipped_weights_and_inputs(model, batches, ranges):
    """It is the network written out with clamps; the model itself is left alone."""
    before = copy.deepcopy(model.state_dict())
    (x,) = batches[0]

    def c(name, value):
        return value.clamp(*ranges.inputs[name])

    w = {
        name: layer.weight.clamp(-ranges.weights[name], ranges.weights[name])
        for name, layer in layers_of(model, LAYERS).items()
    }
    y = F.relu(model.bn(F.conv2d(c("stem", x), w["stem"], padding=1)))
    z = y
    for _ in range(2):
        z = F.conv2d(c("shared", z), w["shared"], model.shared.bias, padding=1, groups=4)
    y = y + F.silu(z)
    y = F.conv_transpose2d(c("up", y), w["up"], model.up.bias, stride=2).mean((2, 3))
    expected = F.linear(c("fc", y), w["fc"], model.fc.bias)
    assert torch.equal(clipped_copy(model, ranges)(x), expected)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_shares_are_kept_on_either_side():
    """Of 1000 values 0.1 ... 100, a share of 0.9 keeps up to 90; nothing lies below 0."""
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False))
    values = torch.arange(1, 1001)[:, None] / 10
    network = read_network(model, (values,)).description
    found = clip_ranges(calibrate(model, network, [(values,)]), input_share=0.9)
    low, high = found.inputs["0"]
    assert (low, high) == (0.0, pytest.approx(90.0))
    assert found.weights["0"] == pytest.approx(model[0].weight.abs().item())


def test_learned_clips_have_the_gradient_of_pact():
    """Beyond a bound the gradient goes to the bound, inside to the value; a weight pulls on both sides."""
    clip = Clip(-1.0, 2.0, learned=True)
    values = torch.tensor([-3.0, -0.5, 1.0, 2.5, 4.0], requires_grad=True)
    upstream = torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0])
    clip(values).backward(upstream)
    assert values.grad.tolist() == [0, 10, 100, 0, 0]
    assert (clip.low.grad.item(), clip.high.grad.item()) == (1, 11000)
    symmetric = Clip(None, 2.0, learned=True)
    symmetric(values.detach()).backward(upstream)
    assert symmetric.high.grad.item() == 11000 - 1


def test_given_clips_are_no_parameters(model, ranges):
    """Without `learned` an optimizer sees the parameters of the model, with it two or more a layer."""
    count = len(list(model.parameters()))
    assert len(list(clipped_copy(model, ranges).parameters())) == count
    learned = clipped_copy(model, ranges, learned=True)
    assert len(list(learned.parameters())) == count + 3 * len(LAYERS)


def test_what_was_learned_is_settled_into_a_plain_model(model, batches, ranges):
    """Weights are clipped for good, everything else is as trained, and no clip is left."""
    twin = clipped_copy(model, ranges, learned=True).train()
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05)
    twin(*batches[0]).square().sum().backward()
    optimizer.step()
    plain, clips = settled(model, twin), read_clips(twin)
    assert list(plain.state_dict()) == list(model.state_dict())
    assert clips.weights != ranges.weights
    for name, layer in layers_of(plain, LAYERS).items():
        assert torch.equal(layer.weight, twin.get_submodule(name).weight)
        assert layer.weight.abs().max().item() <= clips.weights[name]
    assert torch.equal(plain.bn.running_mean, twin.bn.running_mean)
    assert not any(isinstance(module, Clip) for module in plain.modules())


def test_grids_span_the_clips(model, network, ranges):
    """At 8 bits: 127 steps to c on every channel of the weights, 255 from low to high of the input."""
    calibration = clip_calibration(model, network, ranges)
    for name in LAYERS:
        grid = calibration.weight_grid(name, 8)
        assert torch.allclose(grid.scale * 127, torch.tensor(ranges.weights[name]))
        assert len(grid.scale) == calibration.weights[name].shape[0]
        low, high = ranges.inputs[name]
        grid = calibration.activation_grid(name, 8)
        assert grid.scale.item() * 255 == pytest.approx(high - low, rel=1e-5)
        assert (0 - grid.zero_point.item()) * grid.scale.item() == pytest.approx(
            low, abs=grid.scale.item() / 2 + 1e-6
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ClipRanges({"fc": 0.0}, {}),
            "layer 'fc': the clip of its weights must be above 0",
        ),
        (lambda: ClipRanges({}, {"fc": (1.0, 2.0)}), "clip of its input must hold 0 and more, got"),
        (lambda: ClipRanges({}, {"fc": (0.0, 0.0)}), "clip of its input must hold 0 and more, got"),
    ],
)
def test_clips_that_clip_nothing_or_all_are_refused(make, message):
    """The error names the layer and the range."""
    with pytest.raises(InputError, match=message):
        make()


def test_a_layer_without_a_clip_has_no_range(model, network, ranges):
    """Weights are at hand and keep all; of an input nothing is known: an error with the layer's name."""
    calibration = clip_calibration(model, network, ClipRanges({"fc": 1.0}, {}))
    assert torch.allclose(calibration.weight_grid("fc", 8).scale * 127, torch.ones(3))
    full = model.up.weight.abs().amax(dim=(0, 2, 3))
    assert torch.allclose(calibration.weight_grid("up", 8).scale * 127, full)
    with pytest.raises(InputError, match="layer 'fc': its input had no clip"):
        calibration.activation_grid("fc", 8)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_shares_are_shares(calibration, share):
    """Above 0 and at most 1."""
    with pytest.raises(InputError, match="input_share must be above 0 and at most 1"):
        clip_ranges(calibration, input_share=share)


def test_clipped_training_pays_where_weights_have_outliers():
    """Tuned under clips, digits lose less at 8 bits than tuned without, ranges by min-max.

    One of 500 weights is made 12 times the standard deviation; both are tuned alike afterwards.
    """
    task = Digits(widths=(16,), noise=0.2)
    torch.manual_seed(0)
    model = task.build_model()
    fit(model, task, TrainingRecipe(epochs=8, batch_size=32), seed=0)
    network = read_network(model, task.example_inputs()).description
    with torch.no_grad():
        for layer in layers_of(model, network.names).values():
            flat = layer.weight.view(-1)
            some = torch.randperm(len(flat))[: max(4, len(flat) // 500)]
            flat[some] = flat[some].sign() * 12 * flat.std()
    batches = [inputs for inputs, _ in task.batches("train", batch_size=64)][:4]
    ranges = clip_ranges(calibrate(model, network, batches), weight_share=0.99)
    tuning = TrainingRecipe(epochs=3, batch_size=32, learning_rate=1e-3, schedule="cosine")
    plain, twin = copy.deepcopy(model), clipped_copy(model, ranges)
    for network_in_training in (plain, twin):
        fit(network_in_training, task, tuning, seed=0)
    clipped = settled(model, twin)

    def loss(quantized, calibration):
        configuration = BitConfiguration.uniform(network.names, Precision(8, 8))
        with apply_configuration(quantized, configuration, calibration):
            return evaluate(quantized, task, "test").losses["classification"].mean()

    full = calibrate(plain, network, batches, weight_rule="minmax", activation_rule="minmax")
    from_clips = clip_calibration(clipped, network, read_clips(twin))
    assert loss(clipped, from_clips) < loss(plain, full)
