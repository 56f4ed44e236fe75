"""The QDQ export against torch, ONNX's checker and ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from bitwright.networks import read_network
from bitwright.problems import BitConfiguration, InputError, MeasurementError, Precision
from bitwright.quantization import (
    GridQuantizer,
    Quantizer,
    TrainingRecipe,
    applied_quantizers,
    apply_configuration,
    calibrate,
    fit,
    quantized_copy,
)
from bitwright.quantization.export import export_overrides, export_qdq, export_qonnx, grid_figures
from bitwright.tasks.digits import Digits
from bitwright.tasks.models import CompactResNet

from .running import accuracy, every_layer, outputs, session, share_within_one_step, uniform

FAST = ("w2a8", "w4a8", "w8a8", "w5a3", "w16a16-float")
SLOW = ("w8a2", "w3a4", "w16a16", "w8a16-float", "w16a8-float", "w16a16-bfloat", "w8a32", "w32a4")
PRECISIONS = [*FAST, *(pytest.param(label, marks=pytest.mark.slow) for label in SLOW)]
TYPES = {"2": "INT2", "4": "INT4", "5": "INT8", "6": "INT8", "8": "INT8", "16": "INT16"}


@pytest.fixture(scope="module")
def every():
    return every_layer()


@pytest.fixture(scope="module")
def exported(every):
    """The network at a precision, and its export."""
    model, inputs, network, calibration = every
    made = {}

    def of(label):
        if label not in made:
            quantized = uniform(model, network, calibration, label)
            made[label] = quantized, export_qdq(quantized, inputs)
        return made[label]

    return of


@pytest.mark.parametrize("label", PRECISIONS)
@pytest.mark.parametrize("optimised", [False, True])
def test_it_computes_what_the_model_does(every, exported, label, optimised):
    """At every pair of types, optimised or not, ONNX Runtime's answer differs by rounding alone."""
    quantized, export = exported(label)
    onnx.checker.check_model(export.proto, full_check=True)
    with torch.no_grad():
        expected = quantized(*every[1]).numpy()
    (found,) = outputs(export.proto, *every[1], optimised=optimised)
    # float16 rounds what is computed, too; elsewhere an input may round to the next level.
    allowed = 0.02 if "16" in label else 5e-3
    assert np.abs(found - expected).max() <= allowed * np.abs(expected).max()


@pytest.mark.parametrize(
    ("label", "opset"), [("w8a8", 18), ("w4a8", 21), ("w2a8", 25), ("w16a16-float", 18)]
)
def test_the_opset_is_the_lowest_that_has_the_types(exported, label, opset):
    """int4 needs opset 21, int2 needs 25; nothing else asks for more than torch writes."""
    assert exported(label)[1].opset == opset


@pytest.mark.parametrize(
    "label", ["w2a8", "w4a8", "w5a3", pytest.param("w16a16", marks=pytest.mark.slow)]
)
def test_codes_are_stored_and_stand_for_the_weights(exported, label):
    """onnx's own reader finds codes in the narrowest type; scaled, they are torch's quantized weights."""
    quantized, export = exported(label)
    stored = {i.name: i for i in export.proto.graph.initializer}
    for name in ("side", "depthwise", "up_grouped", "head"):  # no norm is folded into these
        weight = stored[f"{name}.weight"]
        bits = label[1 : label.index("a")]
        assert onnx.TensorProto.DataType.Name(weight.data_type) == TYPES[bits]
        codes = onnx.numpy_helper.to_array(weight).astype(np.float32)
        scale = onnx.numpy_helper.to_array(stored[f"{name}.weight_scale"])
        shape = [1] * codes.ndim
        shape[applied_quantizers(quantized)[name].weight.grid.channel_axis] = -1
        assert np.array_equal(
            codes * scale.reshape(shape), quantized.get_submodule(name).weight.detach().numpy()
        )


def test_one_pair_for_layers_that_read_one_tensor(exported):
    """The stem and its shortcut read the image through one QuantizeLinear; a shared module has two inputs."""
    nodes = exported("w8a8")[1].proto.graph.node
    reads = {node.name: node.input[0] for node in nodes if node.input}
    assert reads["stem"] == reads["side"]
    assert reads["shared"] != reads["shared#2"]
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) == 10


def test_three_bits_are_clipped(exported):
    """Codes of a 3-bit activation in a 4-bit type stay within 0 to 7, whatever comes in."""
    export = exported("w5a3")[1]
    twin = onnx.ModelProto()
    twin.CopyFrom(export.proto)
    twin.graph.output.append(
        onnx.helper.make_tensor_value_info("side.input_quantized", onnx.TensorProto.FLOAT, None)
    )
    name = "stem.input_quantized"
    twin.graph.output[-1].name = name
    read = session(twin, optimised=False).run(
        [name], {"x": 100 * np.random.default_rng(0).normal(size=(4, 4, 8, 8)).astype(np.float32)}
    )[0]
    assert len(np.unique(read)) <= 8
    assert "3, 5, 6, 7" in export.notes[0]


def test_any_batch_size(every, exported):
    """The exported model takes another batch than that of the inputs given."""
    (found,) = outputs(exported("w8a8")[1].proto, torch.randn(7, 4, 8, 8))
    assert found.shape == (7, 5)


def test_the_model_is_left_alone(every):
    """Exporting changes neither weights nor quantizers, and can be done while the configuration is applied."""
    model, inputs, _, calibration = every
    with apply_configuration(model, BitConfiguration({"side": Precision(4, 8)}), calibration):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        export_qdq(model, inputs)
        after = model.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_float_model_is_refused(every):
    """A model without a configuration is an error that says so."""
    with pytest.raises(InputError, match="the model is not quantized"):
        export_qdq(every[0], every[1])


def test_weights_off_their_grid_are_refused(every):
    """Weights that were blended with the float ones are no codes."""
    model, inputs, network, calibration = every
    quantized = uniform(model, network, calibration, "w4a8")
    quantizer = applied_quantizers(quantized)["side"].weight
    quantizer.forward = lambda weight: weight
    with pytest.raises(InputError, match="layer 'side': its weights do not lie on their grid"):
        export_qdq(quantized, inputs)


def test_grids_that_cannot_be_held_are_refused(every):
    """An input without a fixed grid, or with a scale per channel, is an error with the layer."""
    model, inputs, network, calibration = every
    quantized = uniform(model, network, calibration, "w4a8")
    side = quantized.get_submodule("side")
    grid = applied_quantizers(quantized)["side"].input.grid
    side.input_quantizer = GridQuantizer(replace(grid, channel_axis=1))
    with pytest.raises(InputError, match="layer 'side': its input has a scale per channel"):
        export_qdq(quantized, inputs)
    side.input_quantizer = Quantizer()
    with pytest.raises(InputError, match="layer 'side': its input has no fixed grid"):
        export_qdq(quantized, inputs)


@pytest.fixture(scope="module")
def dynamic(every):
    """The network with dynamic ranges at some bits, after a call, by the scheme."""
    model, inputs, network, _ = every

    def of(label, scheme="affine"):
        options = {"activation_ranges": "dynamic", "activation_scheme": scheme}
        quantized = uniform(model, network, calibrate(model, network, [inputs], **options), label)
        with torch.no_grad():
            quantized(*inputs)
        return quantized

    return of


@pytest.mark.parametrize("label", ["w8a8", "w4a8", pytest.param("w2a8", marks=pytest.mark.slow)])
def test_dynamic_ranges_follow_each_run(every, dynamic, label):
    """Inputs a hundred times as large are rounded over their own range, optimised or not, as in torch."""
    quantized = dynamic(label)
    export = export_qdq(quantized, every[1])
    onnx.checker.check_model(export.proto, full_check=True)
    for factor in (1, 100):
        images = factor * every[1][0]
        with torch.no_grad():
            expected = quantized(images).numpy()
        for optimised in (False, True):
            (found,) = outputs(export.proto, images, optimised=optimised)
            assert np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()
    kinds = [node.op_type for node in export.proto.graph.node]
    assert kinds.count("DynamicQuantizeLinear") == 10
    assert "QuantizeLinear" not in kinds


@pytest.mark.parametrize(("label", "scheme"), [("w8a4", "affine"), ("w8a8", "symmetric")])
def test_other_dynamic_ranges_are_refused(every, dynamic, label, scheme):
    """ONNX has one operator for dynamic ranges: 8 bits, affine; all else is one line with the layer."""
    bits = label[-1]
    message = f"layer 'stem': its input has a dynamic range, {scheme} in {bits} bits; ONNX finds"
    with pytest.raises(InputError, match=message):
        export_qdq(dynamic(label, scheme), every[1])


def test_dynamic_ranges_elsewhere(every, dynamic):
    """QONNX and ONNX Runtime's own quantizer have no such thing; in plain figures there is no grid."""
    quantized = dynamic("w8a8")
    with pytest.raises(InputError, match="layer 'stem': QONNX has no quantizer with a dynamic"):
        export_qonnx(quantized, every[1])
    with pytest.raises(InputError, match=r"layer 'stem': ONNX Runtime's .* have fixed ranges"):
        export_overrides(quantized, every[1])
    grids = grid_figures(quantized)
    assert all(grid.input is None and grid.weight is not None for grid in grids.values())


def test_what_torch_cannot_export_is_named():
    """A model whose flow depends on values is refused in one line that names it."""

    class Undecided(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(x) if x.sum() > 0 else self.fc(-x)

    model, inputs = Undecided().eval(), (torch.ones(2, 3),)
    network = read_network(model, inputs, "undecided").description
    quantized = uniform(model, network, calibrate(model, network, [inputs]), "w8a8")
    with pytest.raises(MeasurementError, match=r"torch.export cannot export Undecided: .+"):
        export_qdq(quantized, inputs)


def test_digits():
    """On digits: 99.9 % of what the head reads within one step, optimised accuracy within 0.002."""
    torch.manual_seed(0)
    task = Digits(widths=(16, 24), noise=0.2)
    model = task.build_model()
    fit(model, task, TrainingRecipe(epochs=10, batch_size=64), seed=0)
    model.eval()
    network = read_network(model, task.example_inputs(), "digits").description
    calibration = calibrate(model, network, [next(iter(task.batches("train", batch_size=256)))[0]])
    bits = {name: Precision(4 if "blocks" in name else 8, 8) for name in network.names}
    quantized = quantized_copy(model, BitConfiguration(bits), calibration).eval()
    export = export_qdq(quantized, task.example_inputs())
    # One image of the test split alone would be 0.0022.
    batches = [batch for split in ("test", "score", "mine") for batch in task.batches(split)]
    assert share_within_one_step(quantized, export.proto, "head", batches) >= 0.999
    run = session(export.proto)
    name = run.get_inputs()[0].name
    with torch.no_grad():
        ours = accuracy(lambda x: quantized(x).numpy(), batches)
    theirs = accuracy(lambda x: run.run(None, {name: x.numpy()})[0], batches)
    assert ours > 0.75
    assert abs(ours - theirs) <= 0.002


def operators(proto, folder):
    """The operators that ONNX Runtime makes of a model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]


def test_eight_bits_run_as_integers(tmp_path):
    """Convolutions of 8 bits are integer ones where a quantizer follows; with 8-bit outputs, all of them."""
    torch.manual_seed(0)
    model = CompactResNet(channels=3, classes=4, widths=[16, 32]).eval()
    inputs = (torch.randn(4, 3, 16, 16),)
    network = read_network(model, inputs, "residual").description
    quantized = uniform(model, network, calibrate(model, network, [inputs]), "w8a8")
    as_they_are = export_qdq(quantized, inputs).proto
    rounded = export_qdq(quantized, inputs, output_batches=[inputs]).proto
    # The stem, the second convolutions and the shortcut are added to something.
    assert operators(as_they_are, tmp_path).count("QLinearConv") == 2
    assert operators(rounded, tmp_path).count("QLinearConv") == 6
    with torch.no_grad():
        expected = quantized(*inputs).numpy()
    (found,) = outputs(rounded, *inputs)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


class Bounded(nn.Module):
    """Convolutions with a ReLU6 behind them, one read by an addition and one by a convolution alone."""

    def __init__(self):
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.act, self.tail = nn.ReLU6(), nn.Conv2d(8, 4, 1)
        for layer in (self.stem, self.body):  # results go well beyond 6
            nn.init.normal_(layer.weight)

    def forward(self, x):
        x = self.act(4 * self.act(self.stem(x)))
        return self.tail(self.act(self.body(x)) + x)


def test_outputs_are_rounded_behind_a_relu6(tmp_path):
    """The grid stands behind the Clip, within its bounds, and ONNX Runtime needs no Clip any more."""
    torch.manual_seed(0)
    model, inputs = Bounded().eval(), (3 * torch.randn(2, 3, 12, 12),)
    network = read_network(model, inputs, "bounded").description
    quantized = uniform(model, network, calibrate(model, network, [inputs]), "w8a8")
    proto = export_qdq(quantized, inputs, output_batches=[inputs]).proto
    scales = {n.output[0]: n.attribute[0].t for n in proto.graph.node if n.op_type == "Constant"}
    bounded = {node.output[0] for node in proto.graph.node if node.op_type == "Clip"}
    behind = [
        node
        for node in proto.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in bounded
    ]
    assert len(behind) == 3
    for node in behind:
        largest = 255 * onnx.numpy_helper.to_array(scales[node.input[1]])
        assert 5.9 < largest < 6.1
    kinds = operators(proto, tmp_path)
    assert (kinds.count("QLinearConv"), kinds.count("Conv")) == (3, 0)
    with torch.no_grad():
        expected = quantized(*inputs).numpy()
    (found,) = outputs(proto, *inputs)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_products_run_as_integers(tmp_path):
    """Linear layers of 8 bits are integer products where a quantizer follows, or no bias is added."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 9, bias=False)).eval()
    inputs = (torch.randn(8, 32),)
    network = read_network(model, inputs, "products").description
    quantized = uniform(model, network, calibrate(model, network, [inputs]), "w8a8")
    proto = export_qdq(quantized, inputs).proto
    kinds = operators(proto, tmp_path)
    assert not {"Gemm", "MatMul", "FusedGemm", "FusedMatMul"} & set(kinds)
    with torch.no_grad():
        expected = quantized(*inputs).numpy()
    (found,) = outputs(proto, *inputs)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("label", ["w4a8", "w2a8", "w4a4", "w3a5"])
def test_widened_codes_run_as_integers(label, tmp_path):
    """Codes of few bits, stored in 8, give what they give as stored, and run in integer convolutions."""
    torch.manual_seed(0)
    model = CompactResNet(channels=3, classes=4, widths=[16, 32]).eval()
    inputs = (torch.randn(4, 3, 16, 16),)
    network = read_network(model, inputs, "residual").description
    quantized = uniform(model, network, calibrate(model, network, [inputs]), label)
    narrow, wide = (export_qdq(quantized, inputs, widen=w) for w in (False, True))
    assert {s.weight_type for s in wide.layers.values()} == {"int8"}
    assert {s.weight_bits for s in wide.layers.values()} == {int(label[1])}
    assert wide.opset <= narrow.opset
    assert wide.initializer_bytes >= narrow.initializer_bytes
    plain = [outputs(e.proto, *inputs, optimised=False)[0] for e in (narrow, wide)]
    assert np.allclose(*plain, atol=1e-5)
    rounded = export_qdq(quantized, inputs, output_batches=[inputs], widen=True).proto
    assert operators(rounded, tmp_path).count("QLinearConv") == 6
    assert "QLinearConv" not in operators(narrow.proto, tmp_path)


def test_compact_residual_network_is_smaller():
    """A file of 8-bit codes is close to a quarter of the float weights' bytes."""
    torch.manual_seed(0)
    model, inputs = (
        CompactResNet(channels=3, classes=4, widths=[32, 64]).eval(),
        (torch.randn(1, 3, 16, 16),),
    )
    network = read_network(model, inputs, "compact").description
    export = export_qdq(
        uniform(model, network, calibrate(model, network, [inputs]), "w8a8"), inputs
    )
    assert export.initializer_bytes < 0.27 * 4 * network.parameters
    assert export.overhead_bytes == export.file_bytes - export.initializer_bytes
