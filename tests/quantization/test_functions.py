"""Layers that functions compute: attention, products of activations, functional calls with a weight."""

import copy
import io
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.networks.torchvision_import import import_torchvision
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.network import FunctionCall
from bitwright.problems.precision import FLOAT32, Precision
from bitwright.quantization import (
    RoundingRecipe,
    TrainingRecipe,
    applied_quantizers,
    apply_configuration,
    calibrate,
    fake_quantize,
    fit,
    prepare_post_training,
    quantized_copy,
)
from bitwright.quantization.functions import attention, operands_of
from bitwright.quantization.quantizers import FloatQuantizer
from bitwright.tasks import Digits

IN, ATTEND, OUT = (f"0.self_attn.{name}" for name in ("in_proj_weight", "attention", "out_proj"))


class OwnAttention(nn.Module):
    """Attention in operators: a Parameter from the right, products in three spellings, a module."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Parameter(torch.randn(8, 24) / 3), nn.Linear(8, 3)
        self.mask = nn.Parameter(torch.zeros(5, 5))

    def forward(self, x):
        q, k, v = (x @ self.qkv).chunk(3, dim=-1)
        weights = torch.baddbmm(self.mask, q, k.transpose(-2, -1)).softmax(-1)
        return self.out(torch.bmm(input=weights, mat2=v) + torch.matmul(weights, v))


def bytes_of(model):
    """The state dict, byte for byte, keys in order."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getvalue()


def prepared(model, *shape):
    """A model with biases that are not zero, its description, calibration and inputs."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    batches = [(torch.randn(shape),) for _ in range(2)]
    network = read_network(model.eval(), batches[0]).description
    return network, calibrate(model, network, batches), batches[0][0]


def uniform(network, bits="w4a8"):
    return BitConfiguration.uniform(network.quantizable_names, Precision.parse(bits))


def encoder():
    return nn.Sequential(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True))


def encoder_by_hand(layer, calibration, configuration, x):
    """An encoder layer of two heads with attention's weights and operands rounded."""

    def act(name, operand, bits, value):
        return fake_quantize(value, calibration.operand_grid(name, operand, bits))

    def weight(name, value):
        grid = calibration.weight_grid(name, configuration[name].weight_bits)
        return fake_quantize(value, grid)

    def read(name, value):
        return act(name, "input", configuration[name].activation_bits, value)

    block, (n, t, e) = layer.self_attn, x.shape
    projected = F.linear(read(IN, x), weight(IN, block.in_proj_weight), block.in_proj_bias)
    q, k, v = (part.view(n, t, 2, e // 2).transpose(1, 2) for part in projected.chunk(3, dim=-1))
    left, right = configuration[ATTEND].activation_bits, configuration[ATTEND].weight_bits
    scores = act(ATTEND, "input", left, q) @ act(ATTEND, "second", right, k).transpose(-2, -1)
    p = act(ATTEND, "probabilities", left, (scores / math.sqrt(e // 2)).softmax(-1))
    y = (p @ act(ATTEND, "values", right, v)).transpose(1, 2).reshape(n, t, e)
    y = F.linear(read(OUT, y), weight(OUT, block.out_proj.weight), block.out_proj.bias)
    y = layer.norm1(x + y)
    w1, w2 = weight("0.linear1", layer.linear1.weight), weight("0.linear2", layer.linear2.weight)
    z = F.relu(F.linear(read("0.linear1", y), w1, layer.linear1.bias))
    return layer.norm2(y + F.linear(read("0.linear2", z), w2, layer.linear2.bias))


@pytest.mark.parametrize("training", [False, True])
def test_multi_head_attention_is_that_quantized_by_hand(training):
    """Projections, queries, keys, probabilities and values are each rounded to their own grid."""
    model = encoder()
    network, calibration, x = prepared(model, 3, 5, 16)
    assert network.quantizable_names == (IN, ATTEND, OUT, "0.linear1", "0.linear2")
    bits = ("w5a8", "w6a7", "w4a8", "w3a8", "w8a6")
    labels = zip(network.names, bits, strict=True)
    configuration = BitConfiguration({name: Precision.parse(p) for name, p in labels})
    expected = encoder_by_hand(copy.deepcopy(model[0]), calibration, configuration, x)
    assert (expected - model(x)).abs().max() > 1e-2
    with apply_configuration(model, configuration, calibration):
        outputs = model.train(training)(x)
    # Steps of 1/31 and less in every tensor: a rounding that falls the other way would show.
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-5)


def test_operators_are_those_quantized_by_hand():
    """A weight from the right is rounded per column, either side of a product for itself."""
    model = OwnAttention()
    network, calibration, x = prepared(model, 2, 5, 8)
    assert network.names == ("qkv", "matmul", "matmul_1", "matmul_2", "out")
    assert calibration.weight_grid("qkv", 4).scale.shape == (24,)

    def act(name, operand, bits, value):
        return fake_quantize(value, calibration.operand_grid(name, operand, bits))

    w = fake_quantize(model.qkv, calibration.weight_grid("qkv", 4))
    q, k, v = (act("qkv", "input", 8, x) @ w).chunk(3, dim=-1)
    right = act("matmul", "second", 4, k.transpose(-2, -1))
    p = (model.mask + act("matmul", "input", 8, q) @ right).softmax(-1)
    y = sum(
        act(name, "input", 8, p) @ act(name, "second", 4, v) for name in ("matmul_1", "matmul_2")
    )
    w = fake_quantize(model.out.weight, calibration.weight_grid("out", 4))
    expected = F.linear(act("out", "input", 8, y), w, model.out.bias)
    with apply_configuration(model, uniform(network), calibration):
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-5)


def networks():
    models = import_torchvision().models
    swin = models.swin_transformer
    sizes = ([2, 2], 16, [2, 2], [2, 2], [4, 4])
    v2 = {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2}
    vit = models.VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=5)
    nn.init.normal_(vit.heads.head.weight)
    return {
        "encoder": (encoder(), (2, 5, 16)),
        "vit": (vit, (2, 3, 16, 16)),
        "swin": (swin.SwinTransformer(*sizes, num_classes=5), (2, 3, 16, 16)),
        "swin v2": (swin.SwinTransformer(*sizes, num_classes=5, **v2), (2, 3, 16, 16)),
        "operators": (OwnAttention(), (2, 5, 8)),
    }


@pytest.mark.parametrize("name", ["encoder", "vit", "swin", "swin v2", "operators"])
def test_whole_networks_are_quantized_and_given_back(name):
    """Every layer has its quantizers, 16 bits change nothing visible, removal gives every byte back.

    Copies made meanwhile are quantized by themselves.
    """
    model, shape = networks()[name]
    network, calibration, x = prepared(model, *shape)
    assert network.quantizable_names == network.names
    before, outputs = bytes_of(model), model(x)
    parts = [(n, type(m), sorted(vars(m))) for n, m in model.named_modules()]
    with apply_configuration(model, uniform(network, "w16a16"), calibration):
        torch.testing.assert_close(model(x), outputs, rtol=1e-3, atol=1e-3)
    with apply_configuration(model, uniform(network), calibration):
        rounded, twin = model(x), copy.deepcopy(model)
        found = applied_quantizers(model)
    assert set(found) == set(network.names)
    for layer in network:
        sides = operands_of(layer.function) if layer.function else {"input": "activation"}
        assert set(found[layer.name].operands) == set(sides) - {"input"}
        assert (found[layer.name].weight is not None) == bool(layer.parameters)
        assert found[layer.name].input is not None
    assert torch.equal(twin(x), rounded)
    assert not torch.equal(rounded, outputs)
    assert bytes_of(model) == before
    assert torch.equal(model(x), outputs)
    assert [(n, type(m), sorted(vars(m))) for n, m in model.named_modules()] == parts
    assert not any(vars(m)[key] for m in model.modules() for key in vars(m) if "hooks" in key)


def test_each_layer_alone_changes_the_outputs_and_all_float_none():
    """No layer of attention is skipped when it alone is quantized, on either side alone."""
    model = encoder()
    network, calibration, x = prepared(model, 2, 5, 16)
    outputs = model(x)
    for name in network.names:
        for bits in ("w3a32", "w32a3"):
            with apply_configuration(
                model, BitConfiguration({name: Precision.parse(bits)}), calibration
            ):
                assert (model(x) - outputs).abs().max() > 1e-3, (name, bits)
    with apply_configuration(model, uniform(network, "w32a32"), calibration):
        assert torch.equal(model(x), outputs)


def test_the_order_of_the_configuration_is_of_no_account():
    """The same bits in another order give the same network, and the same keys in its state dict."""
    model = encoder()
    network, calibration, x = prepared(model, 2, 5, 16)
    configuration = uniform(network)
    backwards = BitConfiguration(dict(reversed(list(configuration.items()))))
    one, other = (quantized_copy(model, c, calibration) for c in (configuration, backwards))
    assert torch.equal(one(x), other(x))
    other.load_state_dict(one.state_dict())


def test_a_failing_run_leaves_nothing_behind():
    """After an error inside a followed module the next run is right."""
    model = encoder()
    network, calibration, x = prepared(model, 2, 5, 16)
    with apply_configuration(model, uniform(network), calibration):
        expected = model(x)
        with pytest.raises(AssertionError, match="embedding dimension of 16"):
            model(torch.randn(2, 5, 3))
        assert torch.equal(model(x), expected)
    assert not torch.overrides._get_current_function_mode_stack()


@pytest.mark.parametrize("estimator", ["ste", "lsq", "lsq+", "pact", "alpha"])
def test_gradients_reach_every_parameter(estimator):
    """The projections' Parameters are trained, and what the estimator trains of the quantizers."""
    model = encoder()
    network, calibration, x = prepared(model, 2, 5, 16)
    twin = quantized_copy(model, uniform(network), calibration, estimator=estimator).train()
    twin(x).square().sum().backward()
    weight = twin[0].self_attn.parametrizations.in_proj_weight.original
    assert weight.grad.abs().sum() > 0
    if estimator == "lsq":
        assert all(p.grad is not None for p in twin.parameters())
        steps = [p for n, p in twin.named_parameters() if "log_step" in n]
        assert len(steps) == 2 * len(network) + 2  # attention has four operands


def test_attention_in_two_products_is_torchs_own():
    """Masks, causal order, a scale and grouped heads, as `scaled_dot_product_attention` has them."""
    q, k, v = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 7, 8), torch.randn(2, 4, 7, 6)
    seen = torch.rand(2, 1, 5, 7) > 0.4
    seen[0, :, 2] = False  # a query that sees nothing
    for options in (
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": seen},
        {"attn_mask": torch.randn(5, 7)},
    ):
        found = attention(lambda _, tensor: tensor, q, k, v, **options)
        torch.testing.assert_close(found, F.scaled_dot_product_attention(q, k, v, **options))
    grouped = (q, k[:, :2], v[:, :2])
    found = attention(lambda _, tensor: tensor, *grouped, enable_gqa=True)
    torch.testing.assert_close(found, F.scaled_dot_product_attention(*grouped, enable_gqa=True))
    dropped = attention(lambda _, tensor: tensor, q, k, torch.ones_like(v), dropout_p=0.5)
    assert dropped.std() > 0.1


def test_what_cannot_be_applied_says_so():
    """Variants of modules, unknown places and a replaced forward are refused, and nothing is left."""
    model = encoder()
    network, calibration, _ = prepared(model, 2, 5, 16)
    before = bytes_of(model)
    for label in ("w4a8-svd-2", "w4a8-integer"):
        with pytest.raises(InputError, match=f"{IN}.*{label} is for modules, and a function"):
            apply_configuration(model, uniform(network, label), calibration)
    model[0].self_attn.forward = model[0].self_attn.forward
    with pytest.raises(InputError, match=r"module '0\.self_attn': its forward is replaced"):
        apply_configuration(model, uniform(network), calibration)
    del model[0].self_attn.forward
    assert bytes_of(model) == before
    with pytest.raises(InputError, match=r"'0\.self_attn\.attention' is a product of activations"):
        calibration.weight_grid(ATTEND, 8)
    with pytest.raises(InputError, match="known by its parameter or its function"):
        FunctionCall("a")


def test_attention_is_trained_at_low_bits():
    """QAT with learned steps lowers the loss of a small attention network on digits."""

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.block, self.head = nn.Linear(8, 16), encoder(), nn.Linear(128, 10)

        def forward(self, images):
            return self.head(self.block(self.embed(images.squeeze(1))).flatten(1))

    task, model = Digits(), Rows()
    fit(model, task, TrainingRecipe(epochs=4, batch_size=32, learning_rate=5e-3), seed=0)
    model.eval()
    inputs = [x for x, _ in task.batches("train", batch_size=64)][:2]
    network = read_network(model, inputs[0]).description
    calibration = calibrate(model, network, inputs)
    twin = quantized_copy(model, uniform(network, "w2a3"), calibration, estimator="lsq")

    def loss():
        with torch.no_grad():
            return sum(float(F.cross_entropy(twin.eval()(*x), y)) for x, y in task.batches("score"))

    before = loss()
    recipe = TrainingRecipe(epochs=4, batch_size=32, learning_rate=3e-3, dampening=1e-3)
    fit(twin, task, recipe, seed=0)
    assert loss() < 0.7 * before


def test_steps_after_training_leave_functions_to_plain_rounding():
    """Rounding adaptively and correcting biases touch the modules beside attention alone."""
    model = encoder()
    network, _, x = prepared(model, 2, 5, 16)
    traced = read_network(model, (x,))
    steps = ("fold", "equalize", "adaround", "bias_correction")
    rounding = RoundingRecipe(steps=5)
    args = (model, traced, uniform(network), [(x,)])
    found = prepare_post_training(*args, steps=steps, rounding=rounding).model
    changed = {
        name.removesuffix(".weight")
        for (name, one), other in zip(found.named_parameters(), model.parameters(), strict=True)
        if one.ndim > 1 and not torch.equal(one, other)
    }
    assert changed == {"0.linear1", "0.linear2"}


@pytest.mark.parametrize("label", ["w16a16-float", "w16a16-bfloat"])
def test_short_floats_and_dynamic_ranges(label):
    """Operands are cast as inputs are, and take the range of each call where so asked."""
    model = encoder()
    network, calibration, x = prepared(model, 2, 5, 16)
    with apply_configuration(model, uniform(network, label), calibration):
        found = applied_quantizers(model)[ATTEND]
        assert {type(q) for q in (found.input, *found.operands.values())} == {FloatQuantizer}
        assert (model(x)).isfinite().all()
    dynamic = calibrate(model, network, [(x,)], activation_ranges="dynamic")
    with apply_configuration(model, uniform(network), dynamic):
        model(100 * x)
        grid = applied_quantizers(model)[IN].input.grid
        low = 100 * x.min()
        assert torch.allclose((grid.quant_min - grid.zero_point) * grid.scale, low, rtol=0.02)


class Padded(nn.Module):
    """An encoder that torch would run on nested tensors, and attention that returns its weights."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.cross = nn.MultiheadAttention(16, 2, kdim=8, vdim=4, add_bias_kv=True)

    def forward(self, x):
        padding = torch.zeros(x.shape[:2], dtype=torch.bool)
        padding[0, 3:] = True
        x = self.encoder(x, src_key_padding_mask=padding).masked_fill(padding[..., None], 0)
        mask = nn.Transformer.generate_square_subsequent_mask(len(x))
        return self.cross(x, x[..., :8], x[..., :4], attn_mask=mask)[0]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")  # torch's own
def test_padding_and_masks():
    """Padded batches, masks, keys of another size: 16 bits compute what torch does in float32."""
    model = Padded()
    network, calibration, x = prepared(model, 3, 5, 16)
    cross = ("q_proj_weight", "k_proj_weight", "v_proj_weight", "matmul", "matmul_1", "out_proj")
    assert set(network.names) > {f"cross.{name}" for name in cross}
    assert network.quantizable_names == network.names
    expected = model(x)
    with apply_configuration(model, uniform(network, "w16a16"), calibration):
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-3)
        assert set(applied_quantizers(model)) == set(network.names)


def test_a_float_pin_beside_quantized_layers_is_kept():
    """Attention's layers in float32 compute as ever beside quantized modules."""
    model = encoder()
    network, calibration, _ = prepared(model, 2, 5, 16)
    floats = dict.fromkeys((IN, ATTEND, OUT), FLOAT32)
    configuration = BitConfiguration(dict(uniform(network).items()) | floats)
    with apply_configuration(model, configuration, calibration):
        assert set(applied_quantizers(model)) == {"0.linear1", "0.linear2"}
        assert "forward" not in vars(model[0].self_attn)
