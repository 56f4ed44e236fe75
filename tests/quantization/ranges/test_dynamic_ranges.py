"""Dynamic activation ranges: every call rounds to the grid of its own input."""

import copy

import pytest
import torch
from torch import nn
from torch.ao.quantization import MinMaxObserver

from bitwright.networks import read_network
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import MeasurementError
from bitwright.problems.precision import Precision
from bitwright.quantization import (
    GridQuantizer,
    applied_quantizers,
    apply_configuration,
    calibrate,
)
from bitwright.quantization.quantizers import DynamicQuantizer


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("factor", [1.0, 100.0])
def test_values_are_torchs_with_the_range_of_the_call(bits, factor):
    """Bit for bit torch's fake quantization with the scale of torch.ao's observer of this tensor."""
    x = factor * (torch.randn(3, 50) + 0.3)
    observer = MinMaxObserver(
        dtype=torch.quint8, qscheme=torch.per_tensor_affine, quant_min=0, quant_max=2**bits - 1
    )
    observer(x)
    scale, zero_point = observer.calculate_qparams()
    expected = torch.fake_quantize_per_tensor_affine(
        x, scale, zero_point.int(), 0, observer.quant_max
    )
    quantizer = DynamicQuantizer(bits, "affine")
    assert torch.equal(quantizer(x), expected)
    assert (quantizer.grid.scale, quantizer.grid.zero_point) == (scale, zero_point)


def test_the_scheme_of_each_call_follows_its_sign():
    """Symmetric: signed about zero with negatives, unsigned without."""
    quantizer = DynamicQuantizer(4, "symmetric")
    quantizer(torch.tensor([-1.0, 3.0]))
    assert (quantizer.grid.quant_min, quantizer.grid.quant_max) == (-7, 7)
    quantizer(torch.tensor([1.0, 3.0]))
    assert (quantizer.grid.quant_min, quantizer.grid.quant_max) == (0, 15)


def test_there_is_no_grid_before_the_first_call():
    """It would be a guess; an empty tensor has none either."""
    quantizer = DynamicQuantizer(4, "affine")
    assert quantizer(torch.empty(0, 3)).shape == (0, 3)
    with pytest.raises(MeasurementError, match="no grid before the layer's first call"):
        _ = quantizer.grid


def test_the_gradient_passes():
    """Nothing is clipped, so that the gradient is passed everywhere."""
    x = torch.randn(100, requires_grad=True)
    DynamicQuantizer(3, "affine")(x).sum().backward()
    # The zero point is rounded, which can push an end out of the range by half a step.
    assert (x.grad == 1).float().mean() > 0.95


def test_inputs_are_dynamic_and_weights_static(model, network, batches):
    """The option reaches every layer; an input ten times as large is rounded ten times as coarsely."""
    calibration = calibrate(model, network, batches, activation_ranges="dynamic")
    configuration = BitConfiguration.uniform(network.names, Precision(4, 8))
    before = copy.deepcopy(model.state_dict())
    with apply_configuration(model, configuration, calibration):
        quantizers = applied_quantizers(model)
        assert all(type(q.input) is DynamicQuantizer for q in quantizers.values())
        assert all(type(q.weight) is GridQuantizer for q in quantizers.values())
        scales = []
        for factor in (1, 16):
            model(factor * batches[0][0])
            scales.append(quantizers["stem"].input.grid.scale)
        assert scales[1] == 16 * scales[0]
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_dynamic_ranges_keep_up_with_inputs_beyond_the_calibration():
    """Inputs five times as large are clipped by static ranges, and not by dynamic ones."""
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).eval()
    image = (torch.randn(64, 8),)
    network = read_network(model, image).description
    configuration = BitConfiguration.uniform(network.names, Precision(8, 8))
    errors = {}
    with torch.no_grad():
        expected = model(5 * image[0])
        for ranges in ("static", "dynamic"):
            calibration = calibrate(model, network, [image], activation_ranges=ranges)
            with apply_configuration(model, configuration, calibration):
                errors[ranges] = (model(5 * image[0]) - expected).abs().mean()
    assert errors["dynamic"] < errors["static"] / 10
