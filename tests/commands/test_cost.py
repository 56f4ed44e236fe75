"""`bitwright cost`: its sources, the contract's JSON, the table, the drawing and the errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from .problems import refused, run

ROOT = Path(__file__).parents[2]
MODELS = "tests.commands.models"
SMALL = f"{MODELS}:small"


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(ROOT)


def answered(capsys, *arguments):
    """The document that `cost --json` prints."""
    status, out, err = run(capsys, "cost", *arguments, "--json", "--quiet")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_the_contract(capsys):
    """ResNet18 is described as in the contract's example, with HAWQ-V3's figures for pinned ends."""
    answer = answered(
        capsys, "torchvision:resnet18", "--bits", "8", "--bits", "4", "--ties", "addition",
        "--pins", "first=w8a8", "last=w8a8",
    )  # fmt: skip
    contract = ["format", "name", "layers", "ties", "totals", "costs"]
    assert [key for key in answer if key not in ("links", "tensors")] == contract
    assert (answer["format"], answer["name"]) == ("bitwright-network/1", "resnet18")
    (layer,) = (layer for layer in answer["layers"] if layer["name"] == "layer1.0.conv1")
    shown = {
        "name": "layer1.0.conv1", "kind": "Conv2d", "parameters": 36864, "macs": 115605504,
        "input_shape": [1, 64, 56, 56], "output_shape": [1, 64, 56, 56],
        "fused": ["layer1.0.bn1", "layer1.0.relu"], "pinned": None,
    }  # fmt: skip
    assert {key: layer[key] for key in shown} == shown
    assert [answer["layers"][i]["pinned"] for i in (0, 1, -1)] == ["w8a8", None, "w8a8"]
    assert answer["totals"] == {"parameters": 11678912, "macs": 1814073344}
    assert answer["costs"]["w8a8"] == {"bitops": 116100694016, "size_bits": 93431296}
    assert set(answer["costs"]) == {"w8a8", "w4a4"}
    assert answer["ties"][0]["side"] == "activation"
    assert answer["ties"][0]["reason"] == "added in layer1.0, layer1.1"


def costs_by_hand(answer, bits, pinned=()):
    """Bit operations and bits of the weights, by the definition."""
    width = {layer["name"]: (bits, bits) for layer in answer["layers"]} | dict(pinned)
    layers = answer["layers"]
    return {
        "bitops": sum(x["macs"] * width[x["name"]][0] * width[x["name"]][1] for x in layers),
        "size_bits": sum(x["parameters"] * width[x["name"]][0] for x in layers),
    }


def test_pins_are_shown_and_applied_when_asked_for(capsys):
    """Uniform costs hold pins only with --pins; a least pin raises what is below it."""
    plain = answered(capsys, SMALL, "--input", "1,3,8,8", "--bits", "4")
    assert plain["costs"] == {"w4a4": costs_by_hand(plain, 4)}
    pins = ("first=w8a8", "head=>=w2a6", "b*=>=w4a4")
    pinned = answered(capsys, SMALL, "--input", "1,3,8,8", "--bits", "4", "--pins", *pins)
    one_by_one = [word for p in pins for word in ("--pins", p)]
    assert answered(capsys, SMALL, "--input", "1,3,8,8", "--bits", "4", *one_by_one) == pinned
    by_hand = {"stem": (8, 8), "head": (4, 6)}
    assert pinned["costs"] == {"w4a4": costs_by_hand(pinned, 4, by_hand)}
    assert {x["name"]: x["pinned"] for x in pinned["layers"] if x["pinned"]} == {"stem": "w8a8"}
    assert {x["name"]: x["least"] for x in pinned["layers"] if "least" in x} == {
        "head": "w2a6",
        "body": "w4a4",
    }


def test_what_cannot_be_quantized_counts_as_float32(capsys):
    """A recurrent module takes 32 bits in every uniform configuration."""
    answer = answered(capsys, f"{MODELS}:recurrent", "--input", "2,5,8", "--bits", "8")
    fixed = [x["name"] for x in answer["layers"] if x.get("quantizable") is False]
    assert fixed == ["rnn"]
    by_hand = costs_by_hand(answer, 8, dict.fromkeys(fixed, (32, 32)))
    assert answer["costs"]["w8a8"] == by_hand


def test_layers_of_functions_take_any_bits(capsys):
    """Attention's projections and its products of activations cost what modules of their size do."""
    answer = answered(capsys, f"{MODELS}:attention", "--input", "2,5,8", "--bits", "4")
    assert not any("quantizable" in x for x in answer["layers"])
    assert answer["costs"]["w4a4"] == costs_by_hand(answer, 4)
    (attention,) = (x for x in answer["layers"] if x["kind"] == "Attention")
    assert attention["macs"] == 2 * 2 * 5 * 5 * 8
    assert attention["function"] == {
        "module": "0.self_attn", "function": "scaled_dot_product_attention",
    }  # fmt: skip


def test_a_run_configuration(capsys, tmp_path):
    """The task's model and inputs, the configuration's name, pins and ties; --pins applies them."""
    source = (ROOT / "configs/digits.yaml").read_text(encoding="utf-8")
    source = source.replace("digits_x86_latency.csv", str(ROOT / "configs/digits_x86_latency.csv"))
    file = tmp_path / "run.yaml"
    file.write_text(f"{source}\npins: {{first: w8a8, head: '>=w8a8'}}\nties: [ompq]\n")
    answer = answered(capsys, file, "--bits", "4")
    assert (answer["name"], answer["layers"][0]["input_shape"]) == ("digits", [1, 1, 8, 8])
    assert (answer["layers"][0]["pinned"], answer["layers"][-1]["least"]) == ("w8a8", "w8a8")
    assert {tie["side"] for tie in answer["ties"]} == {"all"}
    assert answer["costs"]["w4a4"] == costs_by_hand(answer, 4)
    applied = answered(capsys, file, "--bits", "4", "--pins")
    pins = {"stem": (8, 8), "head": (8, 8)}
    assert applied["costs"]["w4a4"] == costs_by_hand(answer, 4, pins)


def test_an_onnx_file(capsys, tmp_path):
    """An ONNX file with an open batch takes its shape from --input."""
    onnx = pytest.importorskip("onnx")
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size])
        for name, size in (("x", 4), ("y", 3))
    ]
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, (4, 3), [0.0] * 12)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], [weight])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "tiny.onnx"))
    answer = answered(capsys, tmp_path / "tiny.onnx", "--input", "5,4")
    assert (answer["name"], answer["totals"]) == ("tiny", {"parameters": 12, "macs": 60})
    assert "leaves its shape open" in refused(capsys, "cost", tmp_path / "tiny.onnx")


def test_the_table(capsys):
    """Layers with what runs with them, ties with reasons, totals, and the costs of uniform bits."""
    arguments = (
        SMALL,
        "--input",
        "1,3,8,8",
        "--ties",
        "shared_input",
        "ompq",
        "--pins",
        "last=w8a8",
    )
    status, out, err = run(capsys, "cost", *arguments)
    assert (status, err) == (0, "")
    macs = 64 * (4 * 27 + 4 * 36 + 16) + 20
    assert out.startswith(
        f"small: 4 layers, {4 * 27 + 4 * 36 + 16 + 20} weights, {macs:,} multiply-adds"
    )
    rows = [line.split() for line in out.splitlines()]
    body = next(row for row in rows if row[:1] == ["body"])
    assert body == [
        "body",
        "Conv2d",
        "3x3",
        "1x4x8x8",
        "1x4x8x8",
        "144",
        "9,216",
        "53.7",
        "%",
        "1,2",
    ]
    assert next(row for row in rows if row[:1] == ["head"])[-1] == "w8a8"
    assert "  1. activation bits: body, side (read the same tensor)" in out
    assert (
        "  2. all sides: body, side (shortcut beside the last convolution of the outermost module)"
        in out
    )
    assert "every layer at one precision, pins applied:" in out


def test_the_drawing(capsys, tmp_path):
    """--plot writes a picture and says so; it is the same every time."""
    files = [tmp_path / name for name in ("a.svg", "b.svg")]
    for file in files:
        status, _, err = run(capsys, "cost", SMALL, "--input", "1,3,8,8", "--plot", file)
        assert (status, err) == (0, f"drawn: {file}\n")
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_a_detector(capsys):
    """A detector of torchvision's is given a list of images."""
    answer = answered(capsys, "torchvision:ssdlite320_mobilenet_v3_large", "--bits", "8")
    assert answer["layers"][0]["input_shape"] == [1, 3, 320, 320]
    assert answer["totals"]["macs"] == 583_171_904  # as in torchvision's table: 0.583 GFLOPS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet18"], "source 'resnet18': expected a run configuration (.yaml), an ONNX file"),
        (["torchvision:resnet81"], "torchvision has no model 'resnet81'; did you mean 'resnet18'?"),
        (["tests.commands.modles:small"], "source tests.commands.modles:small: there is no module"),
        ([f"{MODELS}:smal"], f"module '{MODELS}' has no function 'smal'; did you mean 'small'?"),
        ([f"{MODELS}:broken"], f"{MODELS}:broken() failed: ValueError: two lines"),
        ([f"{MODELS}:nothing"], f"{MODELS}:nothing() must return a torch module, got int"),
        ([SMALL, "--ties", "additon"], "unknown rule of ties 'additon'; did you mean 'addition'"),
        ([SMALL, "--pins", "stem"], "a pin is written like first=w8a8 or 'head.*=>=w4a8', got 'stem'"),
        ([SMALL, "--pins", "stm=w8a8"], "pin 'stm' matches no layer of network 'small'; did you mean 'stem'?"),
        ([SMALL, "--bits", "0"], "weight_bits must be an integer from 1 to 32, got 0"),
        ([SMALL, "--input", "3,0"], "argument --input: a shape is written like 1,3,224,224"),
        ([SMALL, "--input", "1,4,8,8"], "network 'small' cannot be run on inputs of shape [(1, 4, 8, 8)]"),
        ([SMALL, "--plot", "x.gif"], "x.gif: a plot file ends in one of"),
        (["none.yaml"], "none.yaml: "),
        (["none.onnx"], "none.onnx: there is no such file"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(capsys, arguments, message):
    """Exit status 2, and one line with what is wrong and the nearest valid name."""
    assert refused(capsys, "cost", *arguments).startswith(message)
