"""`bitwright export --weights`: the network as it was trained for the bits, or quantized after training."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from bitwright.pipeline.verifying import verified_model
from bitwright.problems.errors import InputError
from bitwright.problems.formats import read_verified
from bitwright.problems.formats.bits_yaml import read_bits
from bitwright.quantization import applied_quantizers, quantized_copy
from bitwright.quantization.export import export_overrides

from ..pipeline.solved_run import carried_out, opened
from .problems import refused, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run with trainings of seeds 0 and 5; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        return carried_out(tmp_path_factory.mktemp("runs"), patch)


def exported(capsys, *arguments) -> dict:
    """What `--json` prints."""
    status, out, err = run(capsys, "export", *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def head_in(file: Path) -> np.ndarray:
    """The codes of the last layer, which no batch norm is folded into."""
    stored = {i.name: i for i in onnx.load(file).graph.initializer}
    return onnx.numpy_helper.to_array(stored["head.weight"]).astype(int)


def head_of(model: torch.nn.Module) -> np.ndarray:
    """The same of a quantized model."""
    scale = applied_quantizers(model)["head"].weight.grid.scale
    weight = model.get_submodule("head").weight.detach()
    return (weight / scale[:, None]).round().int().numpy()


@pytest.mark.parametrize(
    ("arguments", "seed"), [((), 0), (("--weights", "qat"), 0), (("--seed", 5), 5)]
)
def test_trained_weights_are_taken(capsys, finished, tmp_path, arguments, seed):
    """By default and on demand the codes are those of the verified network, of the first seed or the named one."""
    out = tmp_path / "net.onnx"
    document = exported(capsys, finished, "--to", "qdq", "--out", out, *arguments)
    assert document["weights"] == f"trained for these bits (QAT, seed {seed})"
    codes = {s: head_of(verified_model(opened(finished), "small", s)) for s in (0, 5)}
    assert not np.array_equal(codes[0], codes[5])
    assert np.array_equal(head_in(out), codes[seed])


def test_float_weights_are_quantized(capsys, finished, tmp_path):
    """With ptq the codes are those of the float network, though trained weights are kept."""
    out = tmp_path / "net.onnx"
    document = exported(capsys, finished, "--weights", "ptq", "--to", "qdq", "--out", out)
    assert document["weights"] == "quantized after training (PTQ)"
    work = opened(finished)
    bits = read_verified(finished / "verified.json").point("small").configuration
    codes = head_of(quantized_copy(work.float_model(), bits, work.calibration))
    assert np.array_equal(head_in(out), codes)
    assert not np.array_equal(codes, head_of(verified_model(work, "small", 0)))


def test_every_target_takes_them(capsys, finished, tmp_path):
    """QONNX and the overrides' float model hold the trained weights on their grid, and YAML the grids."""
    model = verified_model(opened(finished), "small", 5)
    weight = model.get_submodule("head").weight.detach().numpy()
    for target, file in (("qonnx", "q.onnx"), ("ort-overrides", "o.json")):
        exported(capsys, finished, "--seed", 5, "--to", target, "--out", tmp_path / file)
    for file in ("q.onnx", "o.onnx"):
        graph = onnx.load(tmp_path / file).graph
        stored = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
        found = stored["head.weight"]
        assert np.array_equal(found if found.shape == weight.shape else found.T, weight)
    out = tmp_path / "bits.yaml"
    document = exported(capsys, finished, "--seed", 5, "--to", "yaml", "--out", out)
    assert document["weights"].endswith("seed 5)")
    scale = applied_quantizers(model)["head"].weight.grid.scale
    assert read_bits(out).grids["head"].weight.scale == pytest.approx(scale.tolist(), rel=1e-6)


def test_trained_weights_are_found_whatever_was_verified_last(capsys, finished, tmp_path):
    """A later verification of other points, or none in sight, hides no training."""
    folder = tmp_path / "tiny"
    shutil.copytree(finished, folder)
    (folder / "verified.json").unlink()
    document = exported(capsys, folder, "--to", "qdq", "--out", tmp_path / "net.onnx")
    assert document["weights"] == "trained for these bits (QAT, seed 0)"


def test_best_is_ptq_where_nothing_was_kept(capsys, finished, tmp_path):
    """Where no training was kept the float weights are taken, and trained ones refused."""
    folder = tmp_path / "tiny"
    shutil.copytree(finished, folder)
    for file in (folder / "verify").glob("*.safetensors"):
        file.unlink()
    out = tmp_path / "net.onnx"
    document = exported(capsys, folder, "--to", "qdq", "--out", out)
    assert document["weights"] == "quantized after training (PTQ)"
    for arguments, which in ((("--weights", "qat"), ""), (("--seed", 0), " with seed 0")):
        said = refused(capsys, "export", folder, "--to", "qdq", "--out", out, *arguments)
        assert f"no weights trained for 'small'{which} are kept; `bitwright verify`" in said


def test_overrides_fall_back_where_training_moved_readers_apart(capsys, finished, tmp_path):
    """By default PTQ takes the place of a network that overrides cannot hold; on demand it is an error."""

    def apart(_model, _inputs):
        calls.append(1)
        if len(calls) == 1:
            raise InputError("two grids for one tensor")
        return export_overrides(_model, _inputs)

    for arguments, status in (((), 0), (("--weights", "qat"), 2)):
        calls = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bitwright.pipeline.exporting.export_overrides", apart)
            out = tmp_path / "o.json"
            code, printed, err = run(
                capsys, "export", finished, "--to", "ort-overrides", "--out", out, *arguments
            )
        assert code == status
        assert "two grids for one tensor" in " ".join((printed + err).split())
        assert ("Weights: quantized after training (PTQ), since" in printed) == (status == 0)


def test_bad_arguments(capsys, finished, tmp_path):
    """Unknown weights and seeds, seeds without training, and files that are gone: one line each."""
    common = ("--to", "qdq", "--out", tmp_path / "x.onnx")
    for arguments, message in (
        (("--weights", "qatt"), "weights 'qatt' are unknown; did you mean 'qat'?"),
        (("--seed", 1), "no weights trained for 'small' with seed 1 are kept"),
        (("--seed", -1), "argument --seed: "),
        (("--weights", "ptq", "--seed", 0), "--seed chooses among trained weights, and goes not"),
    ):
        assert message in refused(capsys, "export", finished, *common, *arguments)
    said = refused(capsys, "export", finished, "--to", "qdq", "--out", tmp_path / "no" / "x.onnx")
    assert "no' is no folder; name a file in one" in said
    assert not (tmp_path / "x.onnx").exists()


def test_eight_bits_are_exported_without_a_word_beside(finished, tmp_path):
    """A process of its own writes nothing but the answer: no log of the libraries below."""
    folder = tmp_path / "tiny"
    shutil.copytree(finished, folder)
    solution = json.loads((folder / "solutions/small.json").read_text())
    for bits in solution["bits"].values():
        bits |= {"weight_bits": 8, "activation_bits": 8}
    (folder / "solutions/small.json").write_text(json.dumps(solution))
    command = ("export", folder / "solutions/small.json", "--to", "qdq")
    done = subprocess.run(
        [sys.executable, "-m", "bitwright", *command, "--out", tmp_path / "net.onnx"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "opset 18" in done.stdout
