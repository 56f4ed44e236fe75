"""What a run keeps of its costs: the file, the spread of a total, the notes, and tabulating anew."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction

import pytest

from bitwright.cost_models import WeightSize, tabulate
from bitwright.pipeline import stages
from bitwright.pipeline.costing import COSTS, bars_of, costs_document, read_costs, spread_of
from bitwright.pipeline.stages import carry_out
from bitwright.pipeline.summary import _solutions
from bitwright.problems import Peak, Precision
from bitwright.problems.formats import dump_json

from ..cost_models.resnet18 import resnet18
from ..cost_models.speaking import Speaking
from ..test_plugin_files import ENERGY
from .tiny_run import Lines, config

W4, W8 = Precision(4, 4), Precision(8, 8)
NETWORK = resnet18()


def document():
    """The document of a model that says everything beside one that says nothing, read back."""
    candidates = dict.fromkeys(NETWORK.names, (W4, W8)) | {"fc": (W8,)}
    table = tabulate(NETWORK, candidates, [Speaking(), WeightSize()])
    return json.loads(dump_json(costs_document(NETWORK, table)), parse_float=Decimal)


def test_every_figure_is_kept_with_its_source():
    """Cost, compute type, spread and interpolation of each choice; nothing is written that says nothing."""
    kept = document()
    assert (kept["format"], kept["network"]) == ("bitwright-costs/1", "resnet18")
    latency, size = kept["costs"]["latency_us"], kept["costs"]["size_bits"]
    assert latency["notes"] == ["device: a board", "date: today"]
    assert (latency["fixed"], size["fixed"], size["notes"]) == (5, 0, [])
    assert latency["layers"]["conv1"] == {
        "w4a4": {
            "cost": 40, "spread": Decimal("0.5"), "interpolated": True, "text": "measured twice",
        },
        "w8a8": {"cost": 80, "runs_as": "int8", "spread": Decimal("0.5"), "text": "measured twice"},
    }  # fmt: skip
    assert size["layers"]["fc"] == {"w8a8": {"cost": 8 * 512_000}}


class Bounded:
    """A peak that is an upper bound, and says so."""

    name = "peak_activation_bytes"

    def peaks(self, network, candidates):
        """One step of one layer."""
        return (Peak(self.name, ({network.names[0]: 1},)),)

    def notes(self):
        """What the real one says of some networks."""
        return ("bounded from above",)


def test_notes_of_peaks_are_kept():
    """A peak has no figures of layers, but its notes stand in the file."""
    table = tabulate(NETWORK, dict.fromkeys(NETWORK.names, (W8,)), [Bounded(), WeightSize()])
    kept = costs_document(NETWORK, table)["costs"]
    assert kept["peak_activation_bytes"] == {"notes": ["bounded from above"], "layers": {}}


def test_decimals_are_written_exactly():
    """A tenth stays a tenth; an integer stays one."""

    class Tenth(Speaking):
        def cost(self, layer, precision):
            return Fraction(precision.weight_bits, 10)

    table = tabulate(NETWORK, dict.fromkeys(NETWORK.names, (W4,)), [Tenth()])
    text = dump_json(costs_document(NETWORK, table))
    assert '"cost": 0.4,' in text
    assert '"fixed": 5,' in text


def test_spreads_add_as_independent_errors():
    """The spread of a total is the root of the sum of squares over the chosen figures."""
    latency = document()["costs"]["latency_us"]
    labels = dict.fromkeys(NETWORK.names, "w8a8")
    assert spread_of(latency, labels) == pytest.approx(0.5 * math.sqrt(len(NETWORK)))
    assert spread_of(document()["costs"]["size_bits"], labels) is None
    del latency["layers"]["fc"]["w8a8"]["spread"]
    assert spread_of(latency, labels) is None  # part of an error is no error of the whole


def test_bars_are_those_of_layers():
    """What is drawn has the costs and the spreads; a cost without layers, such as a peak, is left out."""
    costs = document()["costs"] | {"peak_activation_bytes": {"notes": [], "layers": {}}}
    bars = bars_of(costs)
    assert set(bars) == {"latency_us", "size_bits"}
    assert bars["latency_us"]["conv1"]["w8a8"] == (80.0, 0.5)
    assert bars["size_bits"]["conv1"]["w4a4"] == (4 * 9408, 0.0)


def test_the_summary_shows_spread_and_notes(tmp_path):
    """Beside the cost of a solution stands how far it may be off, and below what to know of it."""
    (tmp_path / "solutions").mkdir()
    bits = {"weight_bits": 8, "activation_bits": 8, "variant": ""}
    solution = {
        "status": "optimal", "loss": 0.5, "gap": 0.0, "explanation": None,
        "costs": {"latency_us": 1685, "size_bits": 1}, "budgets": {"latency_us": 2000, "size_bits": 2},
        "bits": dict.fromkeys(NETWORK.names, bits),
    }  # fmt: skip
    (tmp_path / "solutions/fast.json").write_text(json.dumps(solution), encoding="utf-8")
    assert "±" not in _solutions(tmp_path)  # a folder without the file
    (tmp_path / COSTS).write_text(json.dumps(document(), default=float), encoding="utf-8")
    text = _solutions(tmp_path)
    assert "latency_us 1,685 ± 2.29 of 2,000, size_bits 1 of 2" in text  # 0.5 * sqrt(21)
    assert "latency_us: device: a board" in text.splitlines()


def test_an_edited_class_of_costs_is_tabulated_anew(tmp_path, monkeypatch):
    """A cost model of the user's file prices the run; when the file changes, only what follows is redone."""
    file = tmp_path / "my_costs.py"
    file.write_text(ENERGY, encoding="utf-8")
    wanted = ("train", "read", "mine", "score", "problem", "solve")
    monkeypatch.setattr(stages, "STAGES", [s for s in stages.STAGES if s.name in wanted])
    changed = {
        "training": {"epochs": 1, "batch_size": 128},
        "precisions": ["w4a8", "w8a8"],
        "costs": ["size_bits", {"name": f"{file}:Energy", "picojoule_per_bit": 2}],
        "solutions": {"small": {"energy_uj": "50%"}},
        "significance": ["overall"],
    }
    run = carry_out(config(**changed), tmp_path / "runs", Lines())
    energy, size = (read_costs(run)[name] for name in ("energy_uj", "size_bits"))
    for layer, of in energy["layers"].items():
        for label, entry in of.items():
            bits = size["layers"][layer][label]["cost"]
            assert entry["cost"] == pytest.approx(bits * 2e-6)
    again = Lines()
    carry_out(config(**changed), tmp_path / "runs", again)
    assert again.done == []
    file.write_text(ENERGY.replace("return 0\n", "return 7\n", 1), encoding="utf-8")
    carry_out(config(**changed), tmp_path / "runs", again)
    assert again.done == ["tabulate costs", "solve"]
    assert read_costs(run)["energy_uj"]["fixed"] == 7
