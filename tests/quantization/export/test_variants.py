"""Exports of variants: outputs rounded before a nonlinear activation, and weights in two factors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.cost_models import StoredSize
from bitwright.networks import read_network
from bitwright.networks.nonlinear import nonlinear_preactivations
from bitwright.problems import BitConfiguration, InputError, Precision
from bitwright.problems.variants import matrix_shape, most_useful_rank, svd_variant
from bitwright.quantization import applied_quantizers, calibrate, quantized_copy
from bitwright.quantization.export import export_overrides, export_qdq, export_qonnx, grid_figures
from bitwright.quantization.variants import output_quantizers

from .qonnx_running import executed, known_version  # noqa: F401 - a fixture
from .running import outputs, session, with_output


class Swish(nn.Module):
    """Nonlinear activations behind norms that fold and one that does not, and products of every form."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(4, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.shared = nn.Conv2d(8, 8, 3, padding=1)
        self.up, self.up_norm = nn.ConvTranspose2d(8, 16, 2, groups=2), nn.BatchNorm2d(16)
        self.tokens = nn.Linear(16, 12)
        self.squeeze, self.fc_norm = nn.Linear(12, 10), nn.BatchNorm1d(10)
        self.head = nn.Linear(10, 6)
        for norm in (self.norm, self.up_norm, self.fc_norm):
            for tensor in (norm.weight, norm.bias, norm.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(norm.running_var, 0.5, 2)

    def forward(self, x):
        y = F.silu(self.norm(self.stem(x)))
        y = F.silu(self.shared(torch.sigmoid(self.shared(y))))
        y = F.mish(self.up_norm(self.up(y)))
        y = F.gelu(self.tokens(y.flatten(2).transpose(1, 2))).mean(1)
        return self.head(torch.tanh(self.fc_norm(self.squeeze(y))))


@pytest.fixture(scope="module")
def swish():
    torch.manual_seed(0)
    model, inputs = Swish().eval(), (torch.randn(3, 4, 7, 7),)
    traced = read_network(model, inputs, "swish")
    nonlinear = nonlinear_preactivations(traced)
    assert set(nonlinear) == {"stem", "shared", "up", "tokens", "squeeze"}
    calibration = calibrate(model, traced.description, [inputs], observe_outputs=nonlinear)
    return model, inputs, traced.description, calibration


def configuration(network, label, form, *, ranks):
    """The same bits everywhere, in a form of activation where one follows, and with factors of half rank."""
    bits, chosen = Precision.parse(label), {}
    for layer in network:
        shape, rank = matrix_shape(layer), 0
        if ranks and shape:
            rank = max(most_useful_rank(*shape) - 2, 1)
        ours = form if layer.name != "head" else ""
        variant = svd_variant(rank, ours) if rank else ours
        chosen[layer.name] = Precision(bits.weight_bits, bits.activation_bits, variant)
    return BitConfiguration(chosen)


@pytest.fixture(scope="module")
def quantized(swish):
    """The network in every variant at once, by label."""
    model, _, network, calibration = swish
    made = {}

    def of(label):
        if label not in made:
            chosen = configuration(network, label, "integer", ranks=True)
            made[label] = chosen, quantized_copy(model, chosen, calibration)
        return made[label]

    return of


LABELS = ["w8a8", "w4a8", "w5a6", *(pytest.param(x, marks=pytest.mark.slow) for x in ("w2a8", "w3a4", "w8a16", "w16a16"))]  # fmt: skip


@pytest.mark.parametrize("label", LABELS)
def test_qdq_computes_what_the_model_does(swish, quantized, label):
    """In ONNX Runtime, optimised or not, with rounded outputs and factors, in as many bytes as the cost says."""
    chosen, model = quantized(label)
    export = export_qdq(model, swish[1])
    onnx.checker.check_model(export.proto, full_check=True)
    with torch.no_grad():
        expected = model(*swish[1]).numpy()
    for optimised in (False, True):
        (found,) = outputs(export.proto, *swish[1], optimised=optimised)
        assert np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()
    cost = StoredSize()
    stored = sum(cost.cost(layer, chosen[layer.name]) for layer in swish[2])
    assert export.initializer_bytes == stored + cost.fixed_cost(swish[2])
    assert export.layers["tokens"].rank == 4
    assert export.layers["stem"].output[0] == chosen["stem"].activation_bits
    assert export.layers["head"].output is None


def test_outputs_are_rounded_where_the_model_rounds_them(swish, quantized):
    """Behind folded and kept norms and plain layers, once for each call, the same levels as in torch."""
    _, model = quantized("w8a8")
    export = export_qdq(model, swish[1])
    for module, layer in (("norm", "stem"), ("up_norm", "up"), ("tokens", "tokens")):
        seen = []
        quantizer = output_quantizers(model)[module]
        handle = quantizer.register_forward_hook(lambda _m, _a, out, seen=seen: seen.append(out))
        with torch.no_grad():
            model(*swish[1])
        handle.remove()
        name = f"{layer}.output_quantized"
        run = session(with_output(export.proto, name), optimised=False)
        (found,) = run.run([name], {run.get_inputs()[0].name: swish[1][0].numpy()})
        steps = np.abs(found - seen[0].numpy()) / quantizer.grid.scale.item()
        assert steps.max() < 1.01
        assert (steps < 0.01).mean() > 0.98
    names = [node.name for node in export.proto.graph.node]
    assert {"shared.output_quantized", "shared#2.output_quantized"} <= set(names)
    assert sum(name.endswith(".output_quantized") for name in names) == 6


def test_factors_are_stored_as_codes(swish, quantized):
    """Scaled, the codes of the two tensors are torch's quantized factors, shapes (m, K) and (K, n) or turned."""
    _, model = quantized("w5a6")
    stored = {i.name: i for i in export_qdq(model, swish[1]).proto.graph.initializer}
    weight = model.get_submodule("head").parametrizations.weight
    expected = weight[0].factors(weight.original)
    for side, factor in zip(("left", "right"), expected, strict=True):
        name = f"head.weight_{side}"
        codes = onnx.numpy_helper.to_array(stored[name]).astype(np.float32)
        scale = onnx.numpy_helper.to_array(stored[f"{name}_scale"])
        codes = codes if side == "left" else codes.T
        assert np.array_equal(codes * scale[:, None], factor.detach().numpy())
    assert "head.weight" not in stored


def test_hybrid_exports_like_plain(swish):
    """What an activation reads stays in float32: byte for byte the file of the plain precisions."""
    model, inputs, network, calibration = swish
    files = [
        export_qdq(
            quantized_copy(model, configuration(network, "w8a8", form, ranks=False), calibration),
            inputs,
        ).proto.SerializeToString(deterministic=True)
        for form in ("", "hybrid")
    ]
    assert files[0] == files[1]


@pytest.mark.usefixtures("known_version")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of qonnx
@pytest.mark.parametrize("label", ["w3a5", pytest.param("w8a8", marks=pytest.mark.slow)])
def test_qonnx_computes_what_the_model_does(swish, quantized, label):
    """Executed by qonnx: a quantizer behind each rounded output and on each factor."""
    _, model = quantized(label)
    export = export_qonnx(model, swish[1])
    with torch.no_grad():
        expected = model(*swish[1]).numpy()
    assert np.abs(executed(export.proto, *swish[1]) - expected).max() < 1e-4
    kinds = [node.op_type for node in export.proto.graph.node]
    # Weights of 3 convolutions, 2 factors of 3 products; 7 inputs, 6 outputs.
    assert kinds.count("IntQuant") == 3 + 2 * 3 + 7 + 6


def test_yaml_has_both_grids(swish, quantized):
    """Each factor has its own grid, and so has a rounded output; a whole weight has one."""
    _, model = quantized("w4a8")
    grids = grid_figures(model, {"stem": "norm", "squeeze": "fc_norm"})
    assert grids["head"].weight is None
    assert len(grids["head"].left.scale) == 6
    assert len(grids["head"].right.scale) == applied_quantizers(model)["head"].weight.rank
    assert grids["stem"].output.quant_max == 255
    assert grids["tokens"].output.quant_max == 255
    assert (grids["head"].output, grids["stem"].left) == (None, None)


@pytest.mark.parametrize(
    ("form", "ranks", "message"),
    [
        ("integer", False, "layer 'stem': ONNX Runtime's quantizer chooses itself which outputs"),
        ("", True, "layer 'tokens': ONNX Runtime's quantizer takes layers with one weight"),
    ],
)
def test_overrides_cannot_say_it(form, ranks, message):
    """ONNX Runtime's quantizer knows neither: one line with the layer."""
    torch.manual_seed(0)
    model, inputs = nn.Sequential(), (torch.randn(2, 4, 7, 7),)
    model.stem, model.act, model.flat = nn.Conv2d(4, 4, 3), nn.SiLU(), nn.Flatten(2)
    model.tokens = nn.Linear(25, 10)
    traced = read_network(model.eval(), inputs)
    nonlinear = nonlinear_preactivations(traced)
    calibration = calibrate(model, traced.description, [inputs], observe_outputs=nonlinear)
    chosen = {
        "stem": Precision(8, 8, form),
        "tokens": Precision(8, 8, svd_variant(4) if ranks else ""),
    }
    quantized = quantized_copy(model, BitConfiguration(chosen), calibration)
    with pytest.raises(InputError, match=message):
        export_overrides(quantized, inputs)


def test_float_factors_are_refused(swish):
    """Factors in float32 have no codes."""
    model, inputs, _, calibration = swish
    chosen = BitConfiguration({"head": Precision(32, 8, "svd-3")})
    with pytest.raises(InputError, match="layer 'head': its factors of rank 3 are in float32"):
        export_qdq(quantized_copy(model, chosen, calibration), inputs)
