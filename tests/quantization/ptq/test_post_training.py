"""Post-training quantization step by step: bias correction, and what all steps win back."""

import copy
import os
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from bitwright.networks import read_network
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.quantization import (
    TrainingRecipe,
    apply_configuration,
    calibrate,
    fit,
    post_training,
    quantized_copy,
)
from bitwright.quantization.ptq.adaptive_rounding import RoundingRecipe
from bitwright.quantization.ptq.bias_correction import correct_biases, output_means
from bitwright.tasks import ImageFolder

QUICK = RoundingRecipe(steps=100)


def calibration_batches(task, count=8):
    return [inputs for inputs, _ in islice(task.batches("train", batch_size=64), count)]


def accuracy(model, task, splits=("test",)):
    evaluator = task.evaluator()
    with torch.no_grad():
        for split in splits:
            for inputs, labels in task.batches(split):
                evaluator.update(model(*inputs), labels)
    return evaluator.result().metrics["accuracy"]


def uniform(traced, bits):
    return BitConfiguration.uniform(traced.description.names, Precision(bits, bits))


def test_corrected_layers_have_the_float_means(model, network, batches, calibration):
    """On the calibration data every output channel's mean is the float network's, layer by layer."""
    configuration = BitConfiguration.uniform(network.names, Precision(3, 4))
    before = copy.deepcopy(model.state_dict())
    wanted = output_means(model, network.names, batches, "small")
    corrected = correct_biases(model, network, configuration, calibration, batches)
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    with apply_configuration(model, configuration, calibration):
        uncorrected = output_means(model, network.names, batches, "small")
    with apply_configuration(corrected, configuration, calibration):
        found = output_means(corrected, network.names, batches, "small")
    # The convolution that is called twice feeds itself: its second call moves as it is corrected.
    for name in ("stem", "fc"):
        assert (uncorrected[name] - wanted[name]).abs().max() > 1e-3
        torch.testing.assert_close(found[name], wanted[name], rtol=0, atol=1e-5)
    assert corrected.stem.bias is not None  # it had none


def test_output_means_are_those_of_the_outputs(model, network, batches):
    """Over batches, positions and calls, whatever the layer's axes."""
    means = output_means(model, ["up", "fc"], batches, "small")
    outputs = []
    handle = model.up.register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.no_grad():
        logits = torch.cat([model(*inputs) for inputs in batches])
    handle.remove()
    torch.testing.assert_close(means["up"].float(), torch.cat(outputs).mean((0, 2, 3)))
    torch.testing.assert_close(means["fc"].float(), logits.mean(0))


def test_steps_win_back_accuracy_on_digits(trained_digits):
    """At 3 bits, rounding to nearest loses much; each of the two paying steps wins most of it back."""
    model, task = trained_digits
    before = copy.deepcopy(model.state_dict())
    traced = read_network(model, task.example_inputs())
    batches, splits = calibration_batches(task), ("test", "mine", "score")
    found = {
        steps: accuracy(
            post_training(model, traced, uniform(traced, 3), batches, steps=steps, rounding=QUICK),
            task,
            splits,
        )
        for steps in [
            (),
            ("fold",),
            ("fold", "equalize", "bias_correction"),
            ("fold", "adaround"),
        ]
    }
    float_accuracy = accuracy(model, task, splits)
    plain = found.pop(())
    assert plain < float_accuracy - 0.05
    assert found.pop(("fold",)) == pytest.approx(plain, abs=0.02)
    for steps, reached in found.items():
        assert reached > plain + 0.5 * (float_accuracy - plain), steps
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_no_steps_are_calibration_alone(model, network, batches):
    """Without steps, the answer is that of `quantized_copy`, with the calibration's options."""
    traced = read_network(model, batches[0], "small")
    configuration = BitConfiguration.uniform(network.names, Precision(4, 8))
    plain = post_training(
        model, traced, configuration, batches, steps=(), weight_granularity="tensor"
    )
    calibration = calibrate(model, network, batches, weight_granularity="tensor")
    expected = quantized_copy(model, configuration, calibration)
    assert torch.equal(plain(*batches[0]), expected(*batches[0]))


def test_unknown_steps_are_refused(model, network, batches):
    """The error names the step and the nearest; no batches is an error too."""
    traced = read_network(model, batches[0], "small")
    configuration = BitConfiguration.uniform(network.names, Precision(4, 8))
    with pytest.raises(InputError, match="post-training step 'folds' is unknown; did you mean 'fo"):
        post_training(model, traced, configuration, batches, steps=("folds",))
    with pytest.raises(InputError, match="quantization needs one batch or more, got none"):
        post_training(model, traced, configuration, [])


class Unreached(nn.Module):
    """A layer that runs on large images only."""

    def __init__(self):
        super().__init__()
        self.small, self.large = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        x = self.small(x)
        return self.large(x) if x.shape[-1] > 4 else x


def test_layers_that_no_batch_reaches_keep_their_weights():
    """Nothing is known of them, so that nothing is corrected or rounded."""
    model, batches = Unreached().eval(), [(torch.randn(4, 1, 3, 3),)]
    traced = read_network(model, (torch.randn(1, 1, 8, 8),))
    configuration = BitConfiguration({"small": Precision(3, 8), "large": Precision(3, 32)})
    quantized = post_training(model, traced, configuration, batches, rounding=QUICK)
    original = quantized.large.parametrizations.weight.original
    assert torch.equal(original, model.large.weight)


@pytest.mark.slow
@pytest.mark.skipif("BITWRIGHT_DATA" not in os.environ, reason="needs BITWRIGHT_DATA")
def test_steps_win_back_accuracy_on_vehicles():
    """At W=A=3 the best steps win back more than half of what nearest rounding loses."""
    folder = Path(os.environ["BITWRIGHT_DATA"]) / "tiny_vehicles"
    task = ImageFolder(folder=str(folder), image_size=48)
    model = task.build_model()
    fit(model, task, TrainingRecipe(epochs=20), seed=0)
    model.eval()
    traced = read_network(model, task.example_inputs())
    batches = calibration_batches(task)
    plain, best = (
        accuracy(post_training(model, traced, uniform(traced, 3), batches, **options), task)
        for options in ({"steps": ()}, {})
    )
    reference = accuracy(model, task)
    assert plain < reference - 0.05
    assert best > plain + 0.5 * (reference - plain)
