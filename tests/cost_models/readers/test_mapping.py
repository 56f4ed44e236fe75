"""Which layers rows are: by each rule, never twice, and every microsecond in just one sum."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.cost_models.readers import Measurement, Profile, map_profile, read_profile
from bitwright.cost_models.readers.names import parts_of, stripped
from bitwright.problems import LayerDescription, NetworkDescription

from ...problems.strategies import some
from . import files


def convolution(name, inputs, outputs, side, kernel=3, groups=1, fused=()):
    parameters = inputs * outputs * kernel * kernel // groups
    return LayerDescription(
        name, "Conv2d", parameters, parameters * side * side, (1, inputs, side, side),
        (1, outputs, side, side), fused, in_channels=inputs, out_channels=outputs,
        kernel=(kernel, kernel), stride=(1, 1), groups=groups,
    )  # fmt: skip


def network(*layers):
    return NetworkDescription("net", layers)


NET = network(
    convolution("conv1", 3, 16, 8, fused=("bn1", "relu")),
    convolution("layer1.0.conv1", 16, 16, 8, fused=("layer1.0.relu",)),
    convolution("layer2.0.conv1", 16, 32, 8, fused=("layer2.0.relu",)),
    convolution("layer2.0.downsample.0", 16, 32, 8, kernel=1),
    LayerDescription("fc", "Linear", 320, 320, (1, 32), (1, 10), in_channels=32, out_channels=10),
)


def rows(*names):
    return Profile("tool", tuple(Measurement(name, Fraction(10), 1) for name in names))


def rules(*names, kind="", of=NET, **options):
    """For each row its layers, and the rule that found them."""
    profile = Profile("tool", tuple(Measurement(n, Fraction(10), 1, kind=kind) for n in names))
    return [(row.layers, row.rule) for row in map_profile(profile, of, **options).rows]


PATHS = {
    "/layer2/layer2.0/downsample/downsample.0/Conv": "layer2.0.downsample.0",
    "/layer1/layer1.0/conv1/Conv_output_0_nchwc": "layer1.0.conv1",
    "__module.layer1.0.conv1/aten::_convolution/Convolution": "layer1.0.conv1",
    "[CONVOLUTION]-[aten_ops.convolution.default]-[/layer1/0/conv1] + [RELU]-[aten_ops.relu.default]-[/x]": "layer1.0.conv1",
    "layer1_0_conv1/Conv2D": "layer1.0.conv1",
    "/conv1/Conv/WithoutBiases": "conv1",
    "/fc/MatMul_token_12": "fc",
}


@pytest.mark.parametrize(("name", "layer"), PATHS.items(), ids=range(len(PATHS)))
def test_paths_lead_to_modules(name, layer):
    """Names of exporters and optimizers lead to the layer whose module they are in."""
    assert rules(name) == [((layer,), "module path")]


def test_names_are_most_certain():
    """A row that bears a layer's name is that layer; what optimizers append does not matter."""
    assert rules("layer1.0.conv1_quant") == [(("layer1.0.conv1",), "name")]
    weights = "layer1.0.conv1.weight + QuantizeLinear_7_quantize_scale_node + Conv_9 + Relu_10"
    assert rules(weights) == [(("layer1.0.conv1",), "name")]
    assert rules("fc_token_3", "conv1_nchwc") == [(("fc",), "name"), (("conv1",), "name")]


def test_a_convolution_named_by_what_is_fused_into_it():
    """A row of a convolution that bears the name of one layer's activation is that layer."""
    assert rules("/layer1/layer1.0/relu/Relu_output_0_nchwc", kind="Conv") == [
        (("layer1.0.conv1",), "fused module")
    ]


def test_an_activation_of_its_own_is_no_layer():
    """A row that is an activation belongs to no layer, whatever it is named after."""
    assert rules("/layer1/layer1.0/relu/Relu", kind="Relu") == [((), "")]
    assert rules("/layer1/layer1.0/relu/Relu") == [((), "")]


def test_parts_of_a_layer_add_up():
    """The multiplication and the addition of the bias of one `Linear` are both its time."""
    profile = Profile(
        "tool",
        (
            Measurement(
                "/fc/MatMul", Fraction(10), 1, kind="MatMul", details={"computed_in": "float32"}
            ),
            Measurement("/fc/Add", Fraction(2), 1, kind="Add"),
            Measurement(
                "fc.weight_dequantized",
                Fraction(3),
                1,
                kind="DequantizeLinear",
                details={"computed_in": "int8"},
            ),
            Measurement("fc.input_quantized", Fraction(4), 1, kind="DequantizeLinear"),
        ),
    )
    mapping = map_profile(profile, NET)
    (time,) = mapping.layer_times
    assert (time.layer, time.time_us) == ("fc", 15)
    assert time.computed_in == ("float32",)  # what converts its weights computes nothing of it
    assert mapping.conversions_us == 4


def test_endings_of_names():
    """A model inside another is told by the end of its paths, the longest layer name first."""
    found = rules("model/layer1.0.conv1/Conv2D", "model/conv1/Conv2D", kind="CONV_2D")
    assert found == [(("layer1.0.conv1",), "end of the name"), (("conv1",), "end of the name")]
    inner = network(convolution("backbone.stem", 3, 16, 8), convolution("neck.out", 16, 16, 8))
    assert rules("stem", of=inner) == [(("backbone.stem",), "end of the name")]


def test_two_rows_with_one_ending_are_not_guessed():
    """Where two rows end in one layer's name, neither is taken for it."""
    assert rules("a/conv1/Conv2D", "b/conv1/Conv2D", kind="CONV_2D") == [((), ""), ((), "")]


def test_layers_side_by_side_share_by_multiply_adds():
    """One row of two layers is split by their multiply-adds: nine parts for 3 x 3, one for 1 x 1."""
    profile = rows("/layer2/layer2.0/conv1/Conv || /layer2/layer2.0/downsample/downsample.0/Conv")
    times = {t.layer: t for t in map_profile(profile, NET).layer_times}
    assert times["layer2.0.conv1"].time_us == 9
    assert times["layer2.0.downsample.0"].time_us == 1
    assert all(time.shared for time in times.values())


def test_one_operation_is_one_layer_although_its_name_lists_two():
    """A name that TensorFlow Lite joined with another layer's is the layer that no other row is."""
    both = "[model/conv1/Conv2D;model/layer1.0.conv1/Conv2D]:0"
    found = rules(both, "[model/conv1/Conv2D]:1", kind="CONV_2D")
    assert found == [(("layer1.0.conv1",), "end of the name"), (("conv1",), "end of the name")]
    assert rules(both, kind="CONV_2D") == [((), "")]


def test_a_region_of_a_compiler_is_all_between_its_ends():
    """`{ForeignNode[a...b]}` is the layers from a to b that have no row of their own."""
    found = rules(
        "/layer2/layer2.0/conv1/Conv", "{ForeignNode[layer1.0.conv1.weight.../layer2/layer2.0/downsample/downsample.0/Conv]}"
    )  # fmt: skip
    assert found[1] == (("layer1.0.conv1", "layer2.0.downsample.0"), "range of nodes")


def test_a_region_with_an_unknown_end_is_not_guessed():
    """Where one end names no layer, nobody knows which layers the region holds."""
    profile = rows("{ForeignNode[layer1.0.conv1.weight.../softmax/Softmax]}")
    mapping = map_profile(profile, NET)
    assert mapping.unmapped_us == 10
    assert mapping.missing == NET.names


def test_the_last_of_its_kind_needs_no_name():
    """The only product of matrices is the only `Linear`; two convolutions are not told apart."""
    profile = Profile(
        "tool",
        (
            Measurement("a", Fraction(1), 1, kind="Convolution"),
            Measurement("b", Fraction(1), 1, kind="Convolution"),
            Measurement("191", Fraction(1), 1, kind="FullyConnected"),
        ),
    )
    assert [row.rule for row in map_profile(profile, NET).rows] == ["", "", "last of its kind"]


def test_recurrent_modules_and_attention_are_layers():
    """What is neither a convolution nor a product of its own is a layer, too, and told by its kind."""
    layers = [
        LayerDescription(n, k, 1, 1, (1, 2), (1, 2))
        for n, k in (("a", "GRU"), ("b", "Attention"), ("c", "Linear"))
    ]
    mixed = network(*layers)
    kinds = ("GRU", "MultiHeadAttention", "Gemm")
    profile = Profile("tool", tuple(Measurement(f"n{k}", Fraction(1), 1, kind=k) for k in kinds))
    assert [row.layers for row in map_profile(profile, mixed).rows] == [("a",), ("b",), ("c",)]
    assert rules("/a/GRU", kind="GRU", of=mixed) == [(("a",), "module path")]


def test_order_is_taken_on_request_alone():
    """Nameless rows are layers in their order only where asked, and only if kinds and number agree."""
    kinds = ["Convolution"] * 4 + ["FullyConnected"]
    profile = Profile(
        "tool", tuple(Measurement(f"n{i}", Fraction(1), 1, kind=k) for i, k in enumerate(kinds))
    )
    assert map_profile(profile, NET).missing == NET.names[:4]
    ordered = map_profile(profile, NET, in_order=True)
    assert [row.layers for row in ordered.rows] == [(name,) for name in NET.names]
    fewer = replace(profile, rows=profile.rows[1:])
    assert map_profile(fewer, NET, in_order=True).missing == NET.names[:4]


def shaped(name, layer, pad=1, channels_last=False):
    """A row with the shapes of a layer, its channels filled up as ONNX Runtime does."""

    def image(shape):
        n, c, *sides = shape
        c = -(-c // pad) * pad
        return (n, *sides, c) if channels_last else (n, c, *sides)

    weight = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel)
    return Measurement(
        name, Fraction(1), 1, kind="Conv", inputs=(image(layer.input_shape), (), weight),
        outputs=(image(layer.output_shape),),
    )  # fmt: skip


SHAPED = network(
    convolution("a", 3, 8, 8),
    convolution("b", 8, 24, 8),
    convolution("c", 24, 24, 8, groups=24),
    convolution("d", 24, 8, 8, kernel=1),
    convolution("e", 8, 24, 8),
)


@pytest.mark.parametrize("pad", [1, 8])
@pytest.mark.parametrize("channels_last", [False, True])
def test_shapes_tell_layers_whose_names_are_lost(pad, channels_last):
    """Distinct shapes are told wherever they stand; equal shapes keep their order."""
    order = ("d", "b", "a", "e", "c")
    listed = tuple(shaped(f"x{n}", SHAPED[n], pad, channels_last) for n in order)
    found = {
        row.measurement.name: row.layers
        for row in map_profile(Profile("tool", listed), SHAPED).rows
    }
    assert found == {f"x{n}": (n,) for n in order}


def test_more_rows_of_a_shape_than_layers_are_not_guessed():
    """Three rows for two layers of one shape leave all three unmapped; the others are mapped."""
    listed = (*(shaped(f"x{i}", SHAPED["b"]) for i in range(3)), shaped("d", SHAPED["d"]))
    mapping = map_profile(Profile("tool", listed), SHAPED)
    assert [len(row.layers) for row in mapping.rows] == [0, 0, 0, 1]
    assert mapping.missing == ("a", "b", "c", "e")


def test_another_size_of_image_is_another_network():
    """Rows recorded at another resolution are no layers of this network by their shapes."""
    listed = tuple(shaped(f"x{layer.name}", layer) for layer in SHAPED)
    small = network(*(convolution(n, 3, 8, 4) for n in "ab"))
    assert map_profile(Profile("tool", listed), small).missing == ("a", "b")


@pytest.mark.parametrize("content", files.SAMPLES.values(), ids=files.SAMPLES)
def test_every_microsecond_is_in_one_sum(tmp_path, content):
    """Layers, conversions, other operations and what is unmapped make up the whole profile."""
    path = tmp_path / "profile"
    path.write_text(content)
    mapping = map_profile(read_profile(path), NET)
    parts = (mapping.layers_us, mapping.conversions_us, mapping.other_us, mapping.unmapped_us)
    assert sum(parts) == mapping.profile.total_us
    assert sum(t.time_us for t in mapping.layer_times) == mapping.layers_us
    assert mapping.rest_us == mapping.profile.total_us - mapping.layers_us


def test_a_trtexec_profile_is_mapped_whole(tmp_path):
    """Fused names, pointwise networks, layers side by side, reformatting and compiler rows."""
    path = tmp_path / "profile.json"
    path.write_text(files.TRTEXEC)
    mapping = map_profile(read_profile(path), NET)
    assert [row.layers for row in mapping.rows] == [
        (), ("conv1",), (), ("layer1.0.conv1",), ("layer2.0.conv1", "layer2.0.downsample.0"), (), (), ("fc",),
    ]  # fmt: skip
    assert [row.role for row in mapping.rows if not row.layers] == [
        "conversion", "other", "conversion", "unknown",
    ]  # fmt: skip
    assert mapping.missing == ()
    assert [row.measurement.name for row in mapping.unmapped] == ["__myl_MulSum_myl68_8"]


@some
@given(st.text(max_size=200))
def test_any_name_is_taken_apart(name):
    """No name breaks the rules, and taking endings away comes to an end that stays."""
    for part in parts_of(name):
        assert stripped(stripped(part)) == stripped(part)
    if name:
        rules(name)
        rules(name, kind="Conv")


HOSTILE = (
    "PWN(", "{ForeignNode[", "_token_1", "a/", " + ", "a.", "_quant", "]-[", ")", "Conv/", "aten::a/",
    "/Relu", "[", ";", " || ", "(Unnamed Layer* ", "a/a./", ".weight", "é", "\x1b[31m", "...", "]}",
)  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.timeout(20)
def test_hostile_names_take_no_time(piece):
    """Names of the greatest length, made of what the rules look for, are taken apart at once."""
    name = piece * (100_000 // len(piece))
    rules(name)
    rules(name, kind="Conv")
