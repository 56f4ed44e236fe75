"""docs/cost-models.md: its classes, tables, configurations and commands work as they stand."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml

from bitwright import plugins
from bitwright.cli import COMMANDS, main
from bitwright.run_config import parse_run_config
from bitwright.testing.cost_model_contract import CostModelContract

from .pipeline.tiny_run import settings
from .test_docs import blocks, comparable

DOCUMENT = "docs/cost-models.md"
ROOT = Path(__file__).parent.parent
CLASS = next(code for code in blocks(DOCUMENT, "python") if "class FetchEnergy" in code)
MODEL = '''
from torch import nn

def small():
    """Two layers with the names of the table."""
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(3, 4, 3))
    model.add_module("body", nn.Conv2d(4, 4, 1))
    return model
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with all files that the document names."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "my_costs.py").write_text(CLASS, encoding="utf-8")
    (tmp_path / "board.csv").write_text(blocks(DOCUMENT, "csv")[0], encoding="utf-8")
    (tmp_path / "digits_host.csv").write_text(
        "# overhead_us: 2\nlayer,weight_bits,activation_bits,latency_us\nstem,8,8,4\n", "utf-8"
    )
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/models.py").write_text(MODEL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


def commands() -> list[tuple[str, str]]:
    """Commands on networks, with the output that is shown; what measures or runs is left out."""
    found = []
    for block in blocks(DOCUMENT, "sh"):
        command, _, output = block.replace("\\\n", " ").removeprefix("$ ").partition("\n")
        found.append((command, output))
    return found


def test_all_commands_are_ours():
    """Every shown command is one that exists, and three of them ask for costs."""
    names = [command.split()[:2] for command, _ in commands()]
    assert all(first == "bitwright" and second in COMMANDS for first, second in names)
    assert [second for _, second in names].count("cost") == 3


@pytest.mark.parametrize(
    ("command", "output"), [(c, out) for c, out in commands() if c.split()[1] == "cost"]
)
def test_shown_commands_run(capsys, command, output):
    """Each works, and prints what is shown, but for `...`."""
    assert main(shlex.split(command)[1:]) == 0
    out, _ = capsys.readouterr()
    if output:
        assert doctest.OutputChecker().check_output(
            comparable(output), comparable(out), doctest.ELLIPSIS
        ), out


def test_configurations_are_taken(folder):
    """The whole configuration is read as it stands, parts of one within a small run."""
    whole, *parts = [yaml.safe_load(text) for text in blocks(DOCUMENT, "yaml")]
    config = parse_run_config(yaml.safe_dump(whole), str(folder / "fast.yaml"))
    assert config.costs[1].options["file"] == folder / "digits_host.csv"
    assert len(parts) == 2
    for part in parts:
        config = parse_run_config(yaml.safe_dump(settings(**part)), str(folder / "run.yaml"))
        for section in config.costs:
            assert plugins.create("cost_models", section.name, section.options)


def test_every_model_is_in_the_table():
    """The table of models names all that are registered as ours, and no other."""
    text = (ROOT / DOCUMENT).read_text(encoding="utf-8").partition("\n## ")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    ours = {
        name
        for name, points in plugins.known("cost_models").items()
        if any(point.value.startswith("bitwright.") for point in points)
    }
    assert ours <= named


class TestTheClass(CostModelContract):
    """The shown class keeps the public contract, as the document says it should be tested."""

    @pytest.fixture
    def cost_model(self, folder):
        return plugins.create("cost_models", str(folder / "my_costs.py:FetchEnergy"))
