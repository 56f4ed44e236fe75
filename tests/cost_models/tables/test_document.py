"""The tables that docs/cost-tables.md shows are read, and its lines to write one write one."""

import re
from pathlib import Path

import pytest
from torch import nn, rand

from bitwright.cost_models import CostTable
from bitwright.networks import read_network

from .boards import W8A8

TEXT = (Path(__file__).parents[3] / "docs/cost-tables.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_shown_tables_are_read(tmp_path):
    """Both kinds are there; a network's first layer and a depthwise one with its activation are found."""
    path, tables = tmp_path / "t.csv", []
    for block in blocks("csv"):
        path.write_text(block)
        tables.append(CostTable(file=path))
    by_layer, by_operation = tables
    stem = nn.Conv2d(3, 64, 7, 2, 3)
    (layer,) = read_network(nn.Sequential(stem), (rand(1, 3, 224, 224),)).description
    assert by_operation.cost(layer, W8A8) == 212.5
    depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Hardswish())
    (layer,) = read_network(depthwise, (rand(1, 16, 112, 112),)).description
    assert by_operation.cost(layer, W8A8) == pytest.approx(60.1)
    assert "without" not in by_operation.source(layer, W8A8).text
    assert by_layer.provenance["device"] == by_operation.provenance["device"]


def test_shown_lines_write_a_table(tmp_path, monkeypatch):
    """The Python block runs as it stands, and a cost model reads what it wrote."""
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("python")
    exec(compile(block, "docs/cost-tables.md", "exec"), {})
    assert CostTable(file=tmp_path / "my_board.csv").provenance["overhead_us"] == "2.5"
