"""A run of a network with attention and a recurrent module, which no quantizer carries out."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from bitwright.pipeline import drawing
from bitwright.pipeline.exporting import choose, export
from bitwright.pipeline.stages import carry_out
from bitwright.problems.errors import InputError
from bitwright.problems.formats import read_network, read_problem, write_atomic
from bitwright.significance.losses import read_losses
from bitwright.tasks import Digits

from .tiny_run import Lines, config


class RowReader(nn.Module):
    """Attention over the rows of a digit; the positions are a Parameter that multiplies nothing."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.positions = nn.Parameter(torch.zeros(8, 16))
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.rnn = nn.RNN(16, 16, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, images):
        rows = self.embed(images.squeeze(1)) + self.positions
        return self.head(self.rnn(self.block(rows))[0].mean(1))


ATTENTION = [f"block.self_attn.{name}" for name in ("in_proj_weight", "attention", "out_proj")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder and messages of a finished run without pictures."""
    lines = Lines()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Digits, "build_model", lambda _: RowReader())
        patch.setattr(drawing, "save", lambda _, path: write_atomic(path, "<svg/>"))
        settings = config(
            pins={"first": ">=w4a8"}, ties=["shared_input", "addition"],
            training={"epochs": 1, "batch_size": 64}, verify={"front_points": 1, "qat": {"epochs": 1, "batch_size": 64}},
        )  # fmt: skip
        return carry_out(settings, tmp_path_factory.mktemp("runs"), lines), lines


def test_what_stays_in_float32_is_said(finished):
    """Layers without a quantizer are named, and Parameters that are the weight of no layer."""
    _, lines = finished
    (fixed,) = (line for line in lines.said if "no quantizer carries them out" in line)
    assert fixed.split(": ")[1] == "rnn"
    (unseen,) = (line for line in lines.said if "in no cost" in line)
    assert unseen.split(": ")[1] == "positions"


def test_it_is_in_the_costs_but_no_choice(finished):
    """It has float32 as its one choice, whose cost is in every total; attention has every choice."""
    folder, _ = finished
    network, problem = read_network(folder / "network.json"), read_problem(folder / "problem.json")
    offered = {name: [c.precision.label for c in problem.choices(name)] for name in network.names}
    assert offered.pop("rnn") == ["w32a32"]
    assert offered.pop("embed") == ["w4a8", "w8a8"]
    assert set(ATTENTION) < set(offered)
    assert all(labels == ["w2a8", "w4a8", "w8a8"] for labels in offered.values())
    for solution in json.loads((folder / "verified.json").read_text())["points"]:
        width = solution["bits"]
        assert width["rnn"]["weight_bits"] == 32
        size = sum(x.parameters * width[x.name]["weight_bits"] for x in network)
        assert solution["costs"]["size_bits"] == size


def test_attention_is_scored_and_trained(finished):
    """Attention alone at 2 bits changes losses more than at 8, and every point was trained (QAT)."""
    folder, _ = finished
    losses = read_losses(folder / "significance")
    for name in ATTENTION:
        measured = losses.losses["classification"][losses.plan.components.index(name)]
        change = abs(measured - losses.float_losses["classification"]).mean(axis=1)
        label = [precision.label for precision in losses.plan.precisions]
        assert 0 < change[label.index("w8a8")] < change[label.index("w2a8")]
    points = json.loads((folder / "verified.json").read_text())["points"]
    assert all(point["qat"] for point in points)


def test_exports_refuse_it_in_one_line(finished, tmp_path):
    """An ONNX file shows no layers of functions yet; figures by layer can be written."""
    folder, _ = finished
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Digits, "build_model", lambda _: RowReader())
        chosen = choose(folder, None, Lines(), weights="ptq")
        with pytest.raises(InputError, match="is computed by a function, which no export shows"):
            export(chosen, "qdq", tmp_path / "out.onnx")
        export(chosen, "yaml", tmp_path / "out.yaml")
        assert "block.self_attn.attention" in (tmp_path / "out.yaml").read_text()
