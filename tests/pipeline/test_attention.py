"""A run of a network with attention, whose projections and products no quantizer carries out."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from bitwright.pipeline import drawing
from bitwright.pipeline.stages import carry_out
from bitwright.problems.formats import read_network, read_problem, write_atomic
from bitwright.tasks import Digits

from .tiny_run import Lines, config


class RowReader(nn.Module):
    """Attention over the rows of a digit; the positions are a Parameter that multiplies nothing."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.positions = nn.Parameter(torch.zeros(8, 16))
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, images):
        rows = self.embed(images.squeeze(1)) + self.positions
        return self.head(self.block(rows).mean(1))


FIXED = [f"block.self_attn.{name}" for name in ("in_proj_weight", "attention", "out_proj")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder and messages of a finished run without pictures."""
    lines = Lines()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Digits, "build_model", lambda _: RowReader())
        patch.setattr(drawing, "save", lambda _, path: write_atomic(path, "<svg/>"))
        settings = config(
            pins={"first": ">=w4a8"}, ties=["shared_input", "addition"],
            training={"epochs": 1, "batch_size": 64}, verify={"front_points": 1},
        )  # fmt: skip
        return carry_out(settings, tmp_path_factory.mktemp("runs"), lines), lines


def test_what_stays_in_float32_is_said(finished):
    """Layers without a quantizer are named, and Parameters that are the weight of no layer."""
    _, lines = finished
    (fixed,) = (line for line in lines.said if "no quantizer carries them out" in line)
    assert fixed.split(": ")[1].split(", ") == FIXED
    (unseen,) = (line for line in lines.said if "in no cost" in line)
    assert unseen.split(": ")[1] == "positions"


def test_it_is_in_the_costs_but_no_choice(finished):
    """Every such layer has float32 as its one choice, whose cost is in every total."""
    folder, _ = finished
    network, problem = read_network(folder / "network.json"), read_problem(folder / "problem.json")
    offered = {name: [c.precision.label for c in problem.choices(name)] for name in network.names}
    assert {name: labels for name, labels in offered.items() if len(labels) == 1} == {
        name: ["w32a32"] for name in FIXED
    }
    assert offered["embed"] == ["w4a8", "w8a8"]
    assert offered["head"] == ["w2a8", "w4a8", "w8a8"]
    for solution in json.loads((folder / "verified.json").read_text())["points"]:
        assert {solution["bits"][name]["weight_bits"] for name in FIXED} == {32}
        width = solution["bits"]
        size = sum(x.parameters * width[x.name]["weight_bits"] for x in network)
        assert solution["costs"]["size_bits"] == size
