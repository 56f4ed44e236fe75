"""The QONNX export, executed and costed by qonnx itself."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch

from bitwright.cost_models import BitOperations
from bitwright.networks import read_network
from bitwright.problems import BitConfiguration, InputError, Precision
from bitwright.quantization import calibrate, quantized_copy
from bitwright.quantization.export import export_qonnx
from bitwright.tasks.models import CompactResNet

from .qonnx_running import executed, known_version  # noqa: F401 - a fixture
from .running import every_layer, uniform

pytestmark = [
    pytest.mark.usefixtures("known_version"),
    # qonnx builds on older releases of numpy and onnx.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def compact():
    """A residual network in a mixture of bits, quantized, and its export; images are not negative."""
    torch.manual_seed(0)
    model = CompactResNet(channels=1, classes=10, widths=[16, 24]).eval()
    inputs = (torch.rand(1, 1, 8, 8),)
    network = read_network(model, inputs, "compact").description
    bits = [(8, 8), (2, 7), (3, 3), (5, 6), (4, 4), (8, 4), (7, 8)]
    configuration = BitConfiguration(
        (name, Precision(*bits[i % len(bits)])) for i, name in enumerate(network.names)
    )
    calibration = calibrate(model, network, [inputs])
    quantized = quantized_copy(model, configuration, calibration)
    return quantized, inputs, network, configuration, export_qonnx(quantized, inputs)


def bit_operations(proto):
    """qonnx's inference cost; it counts what is quantized with a zero point as float32, so there are none."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.util.inference_cost import inference_cost

    twin = copy.deepcopy(proto)
    for initializer in twin.graph.initializer:
        if initializer.name.endswith(".input_zero_point"):
            initializer.CopyFrom(onnx.numpy_helper.from_array(np.float32(0), initializer.name))
    return inference_cost(ModelWrapper(twin), discount_sparsity=False)["total_cost"]["total_bops"]


def test_qonnx_computes_what_the_model_does(compact):
    """Executed by qonnx, the residual network in 2 to 8 bits gives the model's logits."""
    quantized, inputs, _, _, export = compact
    with torch.no_grad():
        expected = quantized(*inputs).numpy()
    assert np.abs(executed(export.proto, *inputs) - expected).max() < 1e-6


def test_its_inference_cost_is_ours(compact):
    """qonnx's bit operations equal the cost `bitops`, to the last one."""
    _, _, network, configuration, export = compact
    ours = sum(BitOperations().cost(layer, configuration[layer.name]) for layer in network)
    assert bit_operations(export.proto) == ours


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["IntQuant", "Quant"])
def test_every_layer(operator):
    """Depthwise, grouped, transposed and shared convolutions, and products on 3-d inputs, too."""
    model, inputs, network, calibration = every_layer()
    quantized = uniform(model, network, calibration, "w3a5")
    export = export_qonnx(quantized, inputs, operator=operator)
    with torch.no_grad():
        expected = quantized(*inputs).numpy()
    assert np.abs(executed(export.proto, *inputs) - expected).max() < 1e-5


def test_float16_is_refused(compact):
    """QONNX has no quantizer to float16: an error with the layer."""
    quantized, inputs, *_ = compact
    from bitwright.quantization.quantizers import FloatQuantizer

    twin = copy.deepcopy(quantized)
    twin.get_submodule("stem").input_quantizer = FloatQuantizer(torch.float16)
    with pytest.raises(InputError, match="layer 'stem': QONNX has no quantizer"):
        export_qonnx(twin, inputs)
