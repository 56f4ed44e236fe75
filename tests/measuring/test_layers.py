"""Operations taken out of a network, and their models, against torch and what runtimes report."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from bitwright.measuring.layer_export import operation_model
from bitwright.measuring.models import empty_model, random_inputs
from bitwright.measuring.onnx_runtime import OnnxRuntime
from bitwright.measuring.operations import find_operations
from bitwright.networks import read_network
from bitwright.problems import Precision

FLOAT, EIGHT, FOUR = Precision(32, 32), Precision(8, 8), Precision(4, 8)


class Blocks(nn.Module):
    """Twins, some that differ only in what the columns of a table cannot say, and a residual."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
        )
        self.same, self.again = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.depthwise, self.swish = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Hardswish()
        self.oblong = nn.Conv2d(8, 8, 3, stride=(2, 1), padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.dilated(self.again(self.same(x)))
        x = self.oblong(self.swish(self.depthwise(x))).mean((2, 3))
        return self.head(x) + torch.relu(x) @ torch.ones(8, 5)


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    model = Blocks().eval()
    return find_operations(model, read_network(model, (torch.rand(1, 3, 12, 12),), "blocks"))


def test_layers_that_compute_the_same_are_one_operation(found):
    """Twins share an operation; dilation and activation tell operations apart; keys carry activations."""
    layers = [one.layers for one in found.operations]
    assert ("same", "again") in layers
    assert ("dilated",) in layers
    assert len(layers) == 6
    keys = {one.name: one.key for one in found.operations}
    assert keys["stem.0"].op == "Conv2d+ReLU6"
    assert keys["depthwise"].op == "Conv2d+Hardswish"
    assert (keys["same"].op, keys["dilated"]) == ("Conv2d", keys["same"])
    assert keys["oblong"] is None  # two strides are more than a table's columns say
    assert found.calls["same"] == 1


def test_what_is_no_module_is_left_out(found):
    """A product in a function is named with its reason, and no operation stands for it."""
    (name,) = found.left_out
    assert "no module" in found.left_out[name]
    assert name not in found.operation_of


def operation(found, name):
    return found.operation_of[name]


def computed(model):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = random_inputs(model, 0)
    return next(iter(inputs.values())), session.run(None, dict(inputs))[0]


@pytest.mark.parametrize("name", ["stem.0", "same", "dilated", "depthwise", "oblong", "head"])
def test_float_models_compute_what_the_modules_do(found, name):
    """Layer, batch norm and activation in float32 give what torch gives."""
    one = operation(found, name)
    given, made = computed(operation_model(one, FLOAT))
    with torch.no_grad():
        expected = nn.Sequential(*one.modules)(torch.from_numpy(given)).numpy()
    assert np.allclose(made, expected, atol=1e-5)


@pytest.mark.parametrize("precision", [EIGHT, FOUR, Precision(4, 4)], ids=str)
@pytest.mark.parametrize("name", ["stem.0", "same", "depthwise", "oblong"])
def test_quantized_convolutions_take_and_give_codes_and_run_in_integers(found, name, precision):
    """Whatever the bits, ONNX Runtime runs an integer convolution, with nothing to convert around it."""
    model = operation_model(operation(found, name), precision)
    graph = onnx.load_from_string(model).graph
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    kinds = [t.type.tensor_type.elem_type for t in (graph.input[0], graph.output[0])]
    assert kinds == [onnx.TensorProto.UINT8] * 2
    assert OnnxRuntime().runs_as(model) == "int8"
    _, made = computed(model)
    assert made.dtype == np.uint8
    assert len(np.unique(made)) > 10


def test_quantized_model_computes_the_layer(found):
    """Decoded, the codes that an 8-bit model gives are within a few steps of what torch computes."""
    one = operation(found, "stem.0")
    model = onnx.load_from_string(operation_model(one, EIGHT))
    constants = {n.output[0]: n.attribute[0].t for n in model.graph.node if n.op_type == "Constant"}
    value = {name: onnx.numpy_helper.to_array(t) for name, t in constants.items()}
    value |= {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    given = model.graph.input[0].name
    into = next(n for n in model.graph.node if given in n.input)
    out = next(n for n in model.graph.node if model.graph.output[0].name in n.output)
    (scale, zero), (out_scale, out_zero) = (
        [value[name].astype(np.float64) for name in node.input[1:3]] for node in (into, out)
    )
    codes, made = computed(model.SerializeToString())
    real = torch.from_numpy(((codes - zero) * scale).astype(np.float32))
    with torch.no_grad():
        expected = nn.Sequential(*one.modules)(real).numpy()
    top = out_scale * (255 - out_zero)  # what is above the range that was seen is cut off
    difference = np.abs((made - out_zero) * out_scale - np.minimum(expected, top))
    assert difference.max() < 4 * out_scale


def test_the_empty_model_does_nothing():
    """One number goes through."""
    given, made = computed(empty_model())
    assert given.shape == (1,)
    assert np.array_equal(given, made)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of OpenVINO's own modules
def test_openvino_runs_the_same_models(found):
    """OpenVINO runs both models, the 8-bit one in integers, and computes what ONNX Runtime does."""
    pytest.importorskip("openvino")
    from bitwright.measuring.openvino_runtime import OpenVinoRuntime

    runtime = OpenVinoRuntime()
    one = operation(found, "same")
    for precision, kind in ((FLOAT, "float32"), (EIGHT, "int8")):
        model = operation_model(one, precision)
        assert runtime.runs_as(model) == kind
        (result,) = runtime.load(model, random_inputs(model, 0), 1)().values()
        _, expected = computed(model)
        steps = 1e-4 if precision == FLOAT else 2
        assert np.abs(result.astype(np.float64) - expected).max() <= steps
