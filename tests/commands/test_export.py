"""`bitwright export` on a tiny run: what each target holds, which point is taken, what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml

from bitwright.commands import export as export_command
from bitwright.commands.export import export_text
from bitwright.cost_models import StoredSize
from bitwright.pipeline.stages import carry_out
from bitwright.problems.formats import dump_json, read_network, read_solution
from bitwright.problems.formats.answers_json import bits_document, solution_document
from bitwright.problems.formats.bits_yaml import read_bits

from ..pipeline.tiny_run import Lines, config
from .problems import refused, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished run; not to be changed."""
    settings = {"verify": {"front_points": 2, "uniform": ["w4a8"]}}
    return carry_out(config(**settings), tmp_path_factory.mktemp("runs"), Lines())


def exported(capsys, *arguments) -> dict:
    """What `--json` prints."""
    status, out, err = run(capsys, "export", *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_qdq(capsys, finished, tmp_path):
    """The first solution is exported; its tensors take the bytes of `stored_size_bytes`, the rest is overhead."""
    out = tmp_path / "net.onnx"
    document = exported(capsys, finished, "--to", "qdq", "--out", out)
    onnx.checker.check_model(out, full_check=True)
    first = next(iter(yaml.safe_load((finished / "config.yaml").read_text())["solutions"]))
    solution = read_solution(finished / f"solutions/{first}.json")
    network, cost = read_network(finished / "network.json"), StoredSize()
    stored = sum(cost.cost(layer, solution.configuration[layer.name]) for layer in network)
    assert document["point"] == first
    assert document["initializer_bytes"] == stored + cost.fixed_cost(network)
    assert document["file_bytes"] == out.stat().st_size
    assert document["overhead_bytes"] == document["file_bytes"] - document["initializer_bytes"]
    bits = {name: entry["weight_bits"] for name, entry in document["layers"].items()}
    assert bits == {name: p.weight_bits for name, p in solution.configuration.items()}


def test_integer_outputs(capsys, finished, tmp_path):
    """The stem, in 8 bits, is read by an addition, too: it is quantized behind itself; 4-bit layers are not."""
    out = tmp_path / "net.onnx"

    def quantizers(point, *extra):
        exported(capsys, finished, "--point", point, "--to", "qdq", "--out", out, *extra)
        return sum(node.op_type == "QuantizeLinear" for node in onnx.load(out).graph.node)

    assert read_solution(finished / "solutions/both.json").configuration["stem"].weight_bits == 8
    assert (quantizers("both"), quantizers("both", "--integer-outputs")) == (4, 5)
    assert quantizers("uniform w4a8", "--integer-outputs") == 4


def test_widen(capsys, finished, tmp_path):
    """Codes of 4 bits are stored in 8; only QDQ takes the option."""
    out = tmp_path / "net.onnx"
    given = (finished, "--point", "uniform w4a8", "--out", out, "--to")
    types = [
        {
            layer["weight_type"]
            for layer in exported(capsys, *given, "qdq", *extra)["layers"].values()
        }
        for extra in ((), ("--widen",))
    ]
    assert types == [{"int4"}, {"int8"}]
    assert "--widen goes with --to qdq" in refused(capsys, "export", *given, "qonnx", "--widen")


def test_text(capsys, finished, tmp_path):
    """Without --json, a table of the layers, the sizes and the file."""
    out = tmp_path / "net.onnx"
    status, text, _ = run(capsys, "export", finished, "--to", "qdq", "--out", out)
    assert status == 0
    assert text.startswith("layer ")
    assert f"{out.stat().st_size:,} bytes: " in text
    assert text.endswith(f"Written: {out}\n")


def stored(bits, kind, activation_bits=8, **more):
    """What is said of a layer that is stored."""
    return {"weight_bits": bits, "weight_type": kind, "activation_bits": activation_bits, "activation_type": "uint8"} | more  # fmt: skip


def test_the_table_fits_eighty_columns(monkeypatch):
    """Of twenty layers with long names, variants and all, every line fits, and codes name their type."""
    monkeypatch.setattr(export_command, "terminal_width", lambda: 80)
    layers = {
        f"features.{i}.conv.block{i}.depthwise_convolution": stored(*kind, rank=12)
        for i, kind in enumerate([(2, "int2"), (3, "int4"), (8, "int8", 6), (32, "float32")] * 5)
    }
    layers["stem"] = stored(16, "bfloat16", output_bits=5, output_type="uint8")
    lines = export_text({"layers": layers, "files": ["net.onnx"]}).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["layer", "weights", "inputs", "rank", "outputs"]
    columns = [[cell.strip() for cell in re.split(r"  +", line)[1:]] for line in lines[2:23]]
    assert columns[:4] == [
        ["int2", "uint8", "12", "-"],
        ["3 bits in int4", "uint8", "12", "-"],
        ["int8", "6 bits in uint8", "12", "-"],
        ["float32", "uint8", "12", "-"],
    ]
    assert columns[-1] == ["bfloat16", "uint8", "-", "5 bits in uint8"]
    assert all("..." in line.split()[0] for line in lines[2:22])


def test_the_table_of_bits():
    """Where nothing is stored, layers have their label, and the type that TensorRT computes in."""
    entry = {"weight_bits": 4, "activation_bits": 8, "variant": "svd-3+hybrid", "type": "int8"}
    text = export_text({"layers": {"fc": entry}, "files": ["p.txt"]})
    assert text.splitlines()[2].split() == ["fc", "w4a8-svd-3+hybrid", "int8"]


def test_a_point_of_the_run(capsys, finished, tmp_path):
    """A number counts the verified points, a name is one of them or a solution; without them, front points."""
    points = json.loads((finished / "verified.json").read_text())["points"]
    out = tmp_path / "bits.yaml"
    for i, point in enumerate(points, start=1):
        for name in (str(i), point["name"]):
            exported(capsys, finished, "--point", name, "--to", "yaml", "--out", out)
            assert bits_document(read_bits(out).configuration) == point["bits"]
    shutil.copytree(finished, tmp_path / "tiny")
    (tmp_path / "tiny/verified.json").unlink()
    front = json.loads((finished / "front_points.json").read_text())["points"]
    exported(capsys, tmp_path / "tiny", "--point", "2", "--to", "yaml", "--out", out)
    assert bits_document(read_bits(out).configuration) == front[1]["bits"]


def test_yaml_holds_the_scales(capsys, finished, tmp_path):
    """A solution inside a run has the run's calibration: the weights' scales follow from their maxima's grid."""
    out = tmp_path / "bits.yaml"
    exported(capsys, finished / "solutions/small.json", "--to", "yaml", "--out", out)
    bits = read_bits(out)
    from safetensors.torch import load_file

    weight = load_file(finished / "float.safetensors")["head.weight"]
    grid = bits.grids["head"].weight
    assert len(grid.scale) == len(weight)
    assert grid.quant_max == 2 ** (bits.configuration["head"].weight_bits - 1) - 1
    largest = weight.abs().amax(1) / grid.quant_max  # scales of least error are not above these
    assert (torch.tensor(grid.scale) <= largest * 1.0001).all()


def test_other_targets(capsys, finished, tmp_path):
    """QONNX has IntQuant nodes, TensorRT a line per argument, overrides the float model beside them."""
    exported(capsys, finished, "--to", "qonnx", "--out", tmp_path / "q.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "q.onnx").graph.node]
    assert kinds.count("IntQuant") == 8
    exported(capsys, finished, "--to", "tensorrt-precisions", "--out", tmp_path / "p.txt")
    assert "--layerPrecisions=stem:int8," in (tmp_path / "p.txt").read_text()
    document = exported(capsys, finished, "--to", "ort-overrides", "--out", tmp_path / "o.json")
    assert document["files"] == [str(tmp_path / "o.json"), str(tmp_path / "o.onnx")]
    tensors = json.loads((tmp_path / "o.json").read_text())["tensors"]
    names = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(tmp_path / "o.onnx").graph.initializer}  # fmt: skip
    weight, scales = names["stem.weight"], np.array([o["scale"] for o in tensors["stem.weight"]])
    codes = weight / scales.reshape(-1, 1, 1, 1)
    assert np.abs(codes - codes.round()).max() < 1e-4


def test_variants_on_the_command_line(capsys, finished, tmp_path):
    """Plain YAML keeps the label of a variant; TensorRT's arguments have no word for it, which is noted."""
    document = solution_document(read_solution(finished / "solutions/small.json"))
    document["bits"]["head"]["variant"] = "svd-3"
    alone, out = tmp_path / "alone.json", tmp_path / "b.yaml"
    alone.write_text(dump_json(document))
    exported(capsys, alone, "--to", "yaml", "--out", out)
    assert read_bits(out).configuration["head"].variant == "svd-3"
    said = exported(capsys, alone, "--to", "tensorrt-precisions", "--out", tmp_path / "p.txt")
    assert "TensorRT is not told of factors (svd-K)" in said["notes"][0]
    assert said["layers"]["head"]["variant"] == "svd-3"


def test_a_solution_alone(capsys, finished, tmp_path):
    """A solution outside a run has bits and no network: two targets work, the others say what they need."""
    alone = tmp_path / "alone.json"
    shutil.copy(finished / "solutions/small.json", alone)
    exported(capsys, alone, "--to", "yaml", "--out", tmp_path / "b.yaml")
    assert read_bits(tmp_path / "b.yaml").grids == {}
    exported(capsys, alone, "--to", "tensorrt-precisions", "--out", tmp_path / "p.txt")
    for target in ("qdq", "qonnx", "ort-overrides"):
        out = tmp_path / "x.onnx"
        assert f"--to {target} needs the network and its weights: give the run folder" in refused(
            capsys, "export", alone, "--to", target, "--out", out
        )
        assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "qdqq", "--out", "x"], "--to 'qdqq' is unknown; did you mean 'qdq'?"),
        (["--to", "yaml", "--out", "x", "--point", "99"], "no point '99'; a number from 1 to "),
        (["--to", "yaml", "--out", "x", "--point", "smal"], "did you mean 'small'?"),
        (
            ["--to", "yaml", "--out", "x", "--integer-outputs"],
            "--integer-outputs goes with --to qdq",
        ),
        (["--to", "ort-overrides", "--out", "x.onnx"], "x.onnx: the overrides are JSON"),
    ],
)
def test_bad_arguments(capsys, finished, arguments, message):
    """Every bad argument is one line that names it and the nearest valid one."""
    assert message in refused(capsys, "export", finished, *arguments)


def test_no_run_folder(capsys, tmp_path):
    """A folder that is no run, and a file that is not there, are said so."""
    out = tmp_path / "x"
    assert "no run folder" in refused(capsys, "export", tmp_path, "--to", "yaml", "--out", out)
    assert "none.json: no such file" in refused(
        capsys, "export", tmp_path / "none.json", "--to", "yaml", "--out", out
    )
