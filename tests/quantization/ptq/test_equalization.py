"""Cross-layer equalisation keeps the function and evens out the ranges."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import layers_of, read_network
from bitwright.problems.errors import InputError
from bitwright.quantization.ptq.channels import channel_factors, channel_ranges
from bitwright.quantization.ptq.equalization import equalizable_pairs, equalize_layers


def stretched(model):
    """The model with output channels whose ranges lie far apart."""
    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "bias") and module.weight.ndim > 1:
                count = len(module.bias)
                factors = 10 ** torch.linspace(-1, 1, count)
                module.weight *= channel_factors(module, "output", factors)
    return model.eval()


def chain(*modules):
    return nn.Sequential(*modules)


CHAINS = [
    (chain(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)), (3, 8, 8), [("0", "2")]),
    (
        chain(
            *(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU()),
            *(nn.Dropout(), nn.Conv2d(8, 6, 3, groups=2), nn.MaxPool2d(2), nn.Conv2d(6, 2, 1)),
        ),
        (3, 9, 9),
        [("0", "2"), ("2", "5"), ("5", "7")],
    ),
    (
        chain(
            *(nn.ConvTranspose2d(4, 6, 2, groups=2), nn.ReLU()),
            *(nn.ConvTranspose2d(6, 4, 2, groups=2), nn.AvgPool2d(2), nn.Conv2d(4, 2, 1)),
        ),
        (4, 5, 5),
        [("0", "2"), ("2", "4")],
    ),
    (chain(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), (5,), [("0", "2")]),
    (chain(nn.Conv1d(5, 8, 1), nn.Conv1d(8, 3, 2)), (5, 7), [("0", "1")]),
]


@pytest.mark.parametrize(("model", "shape", "pairs"), CHAINS)
def test_the_function_stays_and_the_ranges_meet(model, shape, pairs):
    """Outputs agree to float rounding; between two layers, ranges of every channel become equal."""
    images = (torch.randn(2, *shape),)
    model = stretched(model)
    traced = read_network(model, images)
    assert list(equalizable_pairs(model, traced)) == pairs
    equal = equalize_layers(model, traced, passes=200)
    expected = model(*images)
    scale = expected.abs().max().item()
    torch.testing.assert_close(equal(*images), expected, rtol=1e-4, atol=1e-5 * scale)
    layers = layers_of(equal, traced.description.names)
    for first, second in pairs:
        made = channel_ranges(layers[first], "output")
        torch.testing.assert_close(made, channel_ranges(layers[second], "input"), rtol=0.02, atol=0)


def test_it_pays_per_tensor():
    """With one scale per tensor, ranges that lie far apart are rounded to nothing unless evened out."""
    from bitwright.problems.configuration import BitConfiguration
    from bitwright.problems.precision import Precision
    from bitwright.quantization import calibrate, quantized_copy

    model = stretched(chain(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 3)))
    with torch.no_grad():
        model[2].weight /= channel_factors(model[2], "input", 10 ** torch.linspace(-1, 1, 16))
    images = (torch.randn(16, 3, 8, 8),)
    traced = read_network(model, images)
    configuration = BitConfiguration.uniform(traced.description.names, Precision(6, 32))
    errors = []
    for variant in (model, equalize_layers(model, traced)):
        calibration = calibrate(variant, traced.description, [images], weight_granularity="tensor")
        quantized = quantized_copy(variant, configuration, calibration)
        errors.append((quantized(*images) - model(*images)).square().mean().item())
    assert errors[1] < errors[0] / 4


class Branches(nn.Module):
    """What must be refused: a SiLU, a second reader, a flattening, a shared layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(4, 4, 1) for _ in range(3))
        self.twice = nn.Conv2d(4, 4, 1)
        self.d = nn.Conv2d(4, 1, 4)
        self.fc = nn.Linear(1, 3)

    def forward(self, x):
        x = self.b(F.silu(self.a(x)))
        x = x + self.c(F.relu(x))
        return self.fc(self.d(self.twice(F.relu(self.twice(x)))).flatten(1))


def test_pairs_between_which_the_function_would_change_are_refused():
    """SiLU between, two readers, a shared layer, a flattening: no pair, and an error when asked for."""
    model, images = Branches(), (torch.randn(1, 4, 4, 4),)
    traced = read_network(model, images)
    assert equalizable_pairs(model, traced) == ()
    for pair in (("a", "b"), ("b", "c"), ("twice", "d"), ("d", "fc")):
        with pytest.raises(InputError, match=f"layers '{pair[0]}' and '{pair[1]}' cannot be equal"):
            equalize_layers(model, traced, pairs=[pair])


def test_dead_channels_stay():
    """A channel without weights is left, and nothing becomes NaN."""
    model = chain(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    with torch.no_grad():
        model[0].weight[1] = 0
        model[2].weight[:, 2] = 0
    images = (torch.randn(2, 3, 4, 4),)
    equal = equalize_layers(model, read_network(model, images))
    torch.testing.assert_close(equal(*images), model(*images), rtol=1e-4, atol=1e-5)
