"""Calibration against torch.ao's observers, and its errors."""

import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver

from bitwright.networks import layers_of, read_network
from bitwright.problems.errors import InputError, MeasurementError
from bitwright.quantization import calibrate, fake_quantize
from bitwright.quantization.calibration import channel_axis
from bitwright.quantization.ranges.clipping import WEIGHT_RULES

BITS = [2, 3, 4, 8]


def observe(observer, args, kwargs):
    observer(*args, *kwargs.values())


@pytest.mark.parametrize("bits", BITS)
def test_weight_scales_are_those_of_torchs_observer(model, network, batches, bits):
    """The minmax rule gives the scales of PerChannelMinMaxObserver on every layer."""
    calibration = calibrate(model, network, batches, weight_rule="minmax")
    top = 2 ** (bits - 1) - 1
    for name, layer in layers_of(model, network.names).items():
        observer = PerChannelMinMaxObserver(
            ch_axis=1 if name == "up" else 0,
            qscheme=torch.per_channel_symmetric,
            dtype=torch.qint8,
            quant_min=-top,
            quant_max=top,
        )
        observer(layer.weight)
        scale, zero_point = observer.calculate_qparams()
        grid = calibration.weight_grid(name, bits)
        torch.testing.assert_close(grid.scale, scale)
        assert torch.equal(grid.zero_point.long(), zero_point.long())


@pytest.mark.parametrize("bits", BITS)
def test_activation_grids_are_those_of_torchs_observer(model, network, batches, bits):
    """The minmax rule gives scale and zero point of MinMaxObserver, over all calls and batches."""
    calibration = calibrate(model, network, batches, activation_rule="minmax")
    for name, layer in layers_of(model, network.names).items():
        observer = MinMaxObserver(
            qscheme=torch.per_tensor_affine,
            dtype=torch.quint8,
            quant_min=0,
            quant_max=2**bits - 1,
        )
        hook = layer.register_forward_pre_hook(
            lambda _, args, kwargs, observer=observer: observe(observer, args, kwargs),
            with_kwargs=True,
        )
        with torch.no_grad():
            for inputs in batches:
                model(*inputs)
        hook.remove()
        scale, zero_point = observer.calculate_qparams()
        grid = calibration.activation_grid(name, bits)
        torch.testing.assert_close(grid.scale, scale.squeeze(0))
        assert grid.zero_point == zero_point


def onnx_runtime_range(batches, folder):
    """The range of a tensor over all batches by ONNX Runtime's min-max calibrator."""
    helper = pytest.importorskip("onnx.helper")
    tools = pytest.importorskip("onnxruntime.quantization.calibrate")
    ends = [helper.make_tensor_value_info(name, 1, [None, 8]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 18)]
    path = folder / "relu.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    )

    waiting = iter([{"x": batch.numpy()} for (batch,) in batches])

    class Reader(tools.CalibrationDataReader):
        def get_next(self):
            return next(waiting, None)

    calibrator = tools.create_calibrator(path, augmented_model_path=str(folder / "augmented.onnx"))
    calibrator.collect_data(Reader())
    return [end.item() for end in calibrator.compute_data()["x"].range_value]


def test_minmax_ranges_are_onnx_runtimes(tmp_path):
    """The kept range of activations over several batches is that of its MinMaxCalibrater, exactly."""
    batches = [(factor * torch.randn(16, 8) + 0.2,) for factor in (1.0, 3.0, 2.0)]
    model = nn.Sequential(nn.Linear(8, 2)).eval()
    network = read_network(model, batches[0]).description
    values = calibrate(model, network, batches).inputs["0"]
    assert [values.minimum.item(), values.maximum.item()] == onnx_runtime_range(batches, tmp_path)


def torch_scale(values, bits, scheme):
    """Scale and zero point by torch.ao's observer of a whole tensor."""
    top = 2 ** (bits - 1) - 1
    observer = {
        "symmetric": MinMaxObserver(
            dtype=torch.qint8, qscheme=torch.per_tensor_symmetric, quant_min=-top, quant_max=top
        ),
        "affine": MinMaxObserver(
            dtype=torch.quint8, qscheme=torch.per_tensor_affine, quant_min=0, quant_max=2**bits - 1
        ),
    }[scheme]
    observer(values)
    return tuple(number.squeeze() for number in observer.calculate_qparams())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("granularity", ["tensor", "group:3", "group:16", "channel"])
def test_scales_of_groups_are_those_of_torchs_observer(
    model, network, batches, bits, scheme, granularity
):
    """Channels of a group share scale and zero point of MinMaxObserver on the group's weights."""
    calibration = calibrate(
        model,
        network,
        batches,
        weight_rule="minmax",
        weight_scheme=scheme,
        weight_granularity=granularity,
    )
    for name, layer in layers_of(model, network.names).items():
        grid = calibration.weight_grid(name, bits)
        rows = layer.weight.detach().movedim(channel_axis(layer), 0)
        size = {"tensor": len(rows), "group:3": 3, "group:16": 16, "channel": 1}[granularity]
        expected = [
            torch_scale(rows[start : start + size], bits, scheme)
            for start in range(0, len(rows), size)
            for _ in rows[start : start + size]
        ]
        assert (grid.channel_axis is None) == (granularity == "tensor")
        assert grid.scale.shape == (() if granularity == "tensor" else (len(rows),))
        scales, zeros = (torch.stack(numbers) for numbers in zip(*expected, strict=True))
        torch.testing.assert_close(grid.scale.expand(len(rows)), scales)
        assert torch.equal(grid.zero_point.expand(len(rows)).long(), zeros.long())


def test_symmetric_activations_are_unsigned_where_none_is_negative(model, network, batches):
    """After a ReLU codes start at the zero point 0; elsewhere they are signed around it."""
    calibration = calibrate(model, network, batches, activation_scheme="symmetric")
    signed, unsigned = (calibration.activation_grid(name, 4) for name in ("stem", "shared"))
    assert (signed.quant_min, signed.quant_max, signed.zero_point) == (-7, 7, 0)
    affine = calibration.activation_grid("up", 4)
    assert (affine.quant_min, affine.quant_max) == (-7, 7)
    positive = [(batch.abs(),) for (batch,) in batches]
    calibration = calibrate(model, network, positive, activation_scheme="symmetric")
    unsigned = calibration.activation_grid("stem", 4)
    assert (unsigned.quant_min, unsigned.quant_max, unsigned.zero_point) == (0, 15, 0)


@pytest.mark.parametrize("rule", [*WEIGHT_RULES, "percentile:99.9"])
def test_every_rule_calibrates_a_network(model, network, batches, rule):
    """Every rule gives every layer grids at every bit-width, from one pass over the batches."""
    calibration = calibrate(model, network, iter(batches), weight_rule=rule, activation_rule=rule)
    for name, layer in layers_of(model, network.names).items():
        for bits in (2, 4, 8, 16):
            weight = calibration.weight_grid(name, bits)
            top = 2 ** (bits - 1) - 1
            assert 0 < weight.scale.max() * top <= layer.weight.abs().max() * 1.0001
            assert calibration.activation_grid(name, bits).quant_max == 2**bits - 1


@pytest.mark.parametrize("rule", WEIGHT_RULES)
def test_permuting_output_channels_permutes_the_scales(rule):
    """A layer with its output channels in another order has its scales in that order."""
    layer, order = nn.Conv2d(3, 6, 3), torch.tensor([4, 0, 5, 2, 1, 3])
    image = (torch.randn(2, 3, 8, 8),)
    grids = []
    for weight in (layer.weight, layer.weight[order]):
        model = nn.Sequential(nn.Conv2d(3, 6, 3))
        model[0].weight = nn.Parameter(weight.detach().clone())
        network = read_network(model, image).description
        grids.append(calibrate(model, network, [image], weight_rule=rule).weight_grid("0", 4))
    torch.testing.assert_close(grids[0].scale[order], grids[1].scale)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"weight_scheme": "affin"}, "weight_scheme 'affin' is unknown; did you mean 'affine'"),
        ({"activation_scheme": "x"}, "activation_scheme 'x' is unknown; known: 'affine'"),
        ({"activation_ranges": "Static"}, "activation_ranges 'Static' is unknown; .* 'static'"),
        ({"weight_granularity": "group:0"}, "weight_granularity 'group:0' must be 'tensor', 'ch"),
        ({"weight_granularity": "row"}, "weight_granularity 'row' must be 'tensor', 'channel'"),
    ],
    ids=str,
)
def test_unknown_options_are_refused_before_the_batches_run(model, network, option, message):
    """The error names the option and what would do; no batch was touched."""
    with pytest.raises(InputError, match=message):
        calibrate(model, network, iter([(torch.full((1, 1, 6, 6), torch.nan),)]), **option)


@pytest.mark.parametrize(
    ("layer", "axis"),
    [
        (nn.Conv2d(6, 4, 3, groups=2), 0),
        (nn.Linear(6, 4), 0),
        (nn.ConvTranspose1d(6, 4, 3), 1),
        (nn.ConvTranspose2d(6, 4, 3, groups=2), 1),
        (nn.ConvTranspose2d(4, 4, 3, groups=4), 0),
        (nn.ConvTranspose2d(4, 8, 3, groups=4), 0),
        (nn.ConvTranspose3d(1, 4, 3), 0),
    ],
    ids=str,
)
def test_no_output_channel_mixes_two_scales(layer, axis):
    """Scaling the weight's channels by powers of ten scales each output channel by one of them."""
    assert channel_axis(layer) == axis
    layer = copy.deepcopy(layer).double()  # terms that nearly cancel out leave digits to compare
    factors = 10.0 ** torch.arange(layer.weight.shape[axis])
    shape = [-1 if d == axis else 1 for d in range(layer.weight.ndim)]
    channels = layer.weight.shape[1] if isinstance(layer, nn.Linear) else layer.in_channels
    image = torch.rand(1, channels, *[5] * (layer.weight.ndim - 2), dtype=torch.float64)
    with torch.no_grad():
        layer.bias.zero_()
        before = layer(image)
        layer.weight *= factors.reshape(shape)
        ratio = (layer(image) / before).flatten(2) if before.ndim > 2 else layer(image) / before
    for channel in ratio[0]:
        torch.testing.assert_close(
            channel, channel.flatten()[0].expand_as(channel), rtol=1e-3, atol=0
        )


@pytest.mark.parametrize("rule", ["minmax", "mse"])
def test_more_bits_round_closer(model, network, batches, rule):
    """Under either rule the weight error falls with every bit."""
    calibration = calibrate(model, network, batches, weight_rule=rule, activation_rule=rule)
    for name, layer in layers_of(model, network.names).items():
        errors = [
            (fake_quantize(layer.weight, calibration.weight_grid(name, bits)) - layer.weight)
            .square()
            .sum()
            for bits in (2, 3, 4, 6, 8)
        ]
        assert errors == sorted(errors, reverse=True)
        assert (
            calibration.activation_grid(name, 8).scale < calibration.activation_grid(name, 2).scale
        )


def test_grids_are_made_once_and_from_the_weights_of_then(model, network, batches):
    """Later changes of the model do not reach a calibration."""
    calibration = calibrate(model, network, batches, activation_rule="minmax")
    before = calibrate(model, network, batches).weight_grid("fc", 4)
    with torch.no_grad():
        model.fc.weight *= 2
    grid = calibration.weight_grid("fc", 4)
    assert torch.equal(grid.scale, before.scale)
    assert calibration.weight_grid("fc", 4) is grid


def test_the_model_is_left_as_it_was(model, network, batches):
    """Training flags, buffers and hooks are as before, also after an error."""
    model.train()
    before = copy.deepcopy(model.state_dict())
    calibrate(model, network, batches)
    with pytest.raises(MeasurementError):
        calibrate(model, network, [(torch.full((1, 1, 6, 6), torch.nan),)])
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_one_pass_over_the_batches(model, network, batches):
    """Batches may come from a generator; every bit-width is answered after one pass."""
    calibration = calibrate(model, network, iter(batches), activation_rule="mse")
    for bits in (1, 2, 8, 16):
        assert calibration.activation_grid("fc", bits).quant_max == 2**bits - 1


def test_bad_activations_name_the_first_layer_that_reads_them(model, network):
    """Infinity in an input is a measurement error with the layer's name."""
    with pytest.raises(MeasurementError, match="layer 'stem': its input holds NaN or infinity"):
        calibrate(model, network, [(torch.full((1, 1, 6, 6), torch.inf),)])


def test_a_run_that_fails_is_reported_in_one_line(model, network):
    """The error names the network and the shapes of the batch."""
    message = (
        r"^network 'small' cannot be run on inputs of shape \[\(1, 2, 6, 6\)\]: RuntimeError: .*$"
    )
    with pytest.raises(MeasurementError, match=message):
        calibrate(model, network, [(torch.zeros(1, 2, 6, 6),)])


def test_bad_weights_name_their_layer(model, network, batches):
    """NaN in a weight is a measurement error with the layer's name."""
    with torch.no_grad():
        model.up.weight[0, 0] = torch.nan
    with pytest.raises(MeasurementError, match="layer 'up': its weights hold NaN or infinity"):
        calibrate(model, network, batches)


def test_a_layer_that_no_batch_reached_has_no_activation_grid(model, network):
    """Its weights can be quantized still."""
    calibration = calibrate(model, network, [])
    assert calibration.weight_grid("stem", 4).quant_max == 7
    with pytest.raises(MeasurementError, match="layer 'stem' did not run on any calibration batch"):
        calibration.activation_grid("stem", 4)


def test_unknown_names_are_refused_with_the_nearest(model, network, batches, calibration):
    """Rules and layers are named in the error, with the nearest known one."""
    with pytest.raises(InputError, match=r"weight rule 'msee' is unknown; did you mean 'mse'"):
        calibrate(model, network, batches, weight_rule="msee")
    with pytest.raises(InputError, match=r"activation rule 'max' is unknown; .*'minmax'"):
        calibrate(model, network, batches, activation_rule="max")
    with pytest.raises(InputError, match=r"layer 'stemm' was not calibrated; did you mean 'stem'"):
        calibration.weight_grid("stemm", 4)
    other = read_network(nn.Sequential(nn.Linear(2, 2)), (torch.zeros(1, 2),)).description
    with pytest.raises(InputError, match="the model has no layer '0'; known: 'fc', 'shared'"):
        calibrate(model, other, batches)


def test_a_calibration_is_frozen(calibration):
    """What was measured cannot be replaced."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        calibration.weight_rule = "minmax"
