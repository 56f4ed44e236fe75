"""TensorQuantOverrides, fed to ONNX Runtime's own quantizer."""

from __future__ import annotations

import json
import logging

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from bitwright.networks import read_network
from bitwright.problems import InputError
from bitwright.quantization import calibrate
from bitwright.quantization.export import export_overrides
from bitwright.quantization.export.ort_overrides import for_runtime

from .running import every_layer, outputs, uniform


class Tokens(nn.Module):
    """A convolution with a batch norm, a transposed one, and products on 3-d and 2-d inputs."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 6, 2)
        self.tokens = nn.Linear(6, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        y = self.up(torch.relu(self.norm(self.stem(x))))
        return self.head(torch.relu(self.tokens(y.flatten(2).transpose(1, 2)).mean(1)))


@pytest.fixture(scope="module")
def tokens():
    torch.manual_seed(0)
    model, inputs = Tokens().eval(), (torch.randn(4, 3, 8, 8),)
    network = read_network(model, inputs, "tokens").description
    return model, inputs, network, calibrate(model, network, [inputs])


def quantized_by_runtime(overrides, tensors, inputs, folder):
    """The float model quantized by ONNX Runtime with these overrides."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            name = overrides.float_model.proto.graph.input[0].name
            self.batches = iter([{name: inputs[0].numpy()}])

        def get_next(self):
            return next(self.batches, None)

    overrides.float_model.write(folder / "float.onnx")
    quantize_static(
        folder / "float.onnx", folder / "quantized.onnx", Reader(), per_channel=True,
        op_types_to_quantize=["Conv", "ConvTranspose", "Gemm", "MatMul"],
        nodes_to_exclude=list(overrides.excluded),
        extra_options={"TensorQuantOverrides": for_runtime(tensors)},
    )  # fmt: skip
    return onnx.load(folder / "quantized.onnx")


@pytest.mark.parametrize("label", ["w8a8", pytest.param("w4a8", marks=pytest.mark.slow)])
def test_the_runtime_takes_our_scales(tokens, tmp_path, monkeypatch, label):
    """After a trip through JSON, the quantized model has our scales and zero points, and nearly our answer."""
    monkeypatch.setattr(logging.getLogger(), "level", logging.ERROR)
    model, inputs, network, calibration = tokens
    quantized = uniform(model, network, calibration, label)
    overrides = export_overrides(quantized, inputs)
    tensors = json.loads(json.dumps(overrides.tensors))
    proto = quantized_by_runtime(overrides, tensors, inputs, tmp_path)
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    assert len(tensors) == 2 * len(network)
    for name, expected in tensors.items():
        scale, zero_point = stored[f"{name}_scale"], stored[f"{name}_zero_point"]
        assert np.atleast_1d(scale).tolist() == [o["scale"] for o in expected]
        assert np.atleast_1d(zero_point).astype(int).tolist() == [o["zero_point"] for o in expected]
    with torch.no_grad():
        ours = quantized(*inputs).numpy()
    (found,) = outputs(proto, *inputs)
    assert np.abs(found - ours).max() < 0.1 * np.abs(ours).max()  # it quantizes outputs as well


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("w8a32", "layer 'stem': ONNX Runtime's quantizer takes"),
        ("w8a8", "layer 'up_grouped': ONNX Runtime's quantizer knows no scales"),
    ],
)
def test_what_it_cannot_take(label, message):
    """Layers with a float side, or whose groups share scales, are an error with their name."""
    model, inputs, network, calibration = every_layer()
    with pytest.raises(InputError, match=message):
        export_overrides(uniform(model, network, calibration, label), inputs)
