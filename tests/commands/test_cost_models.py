"""`bitwright cost --cost ... --device ...`: any cost models, on a device, per layer, with pictures."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from pathlib import Path

import pytest
import torch

from bitwright.problems.formats import read_network

from ..test_plugin_files import ENERGY
from .problems import refused, run
from .test_cost import MODELS, SMALL, answered, costs_by_hand

ROOT = Path(__file__).parents[2]
IMAGE = ("--input", "1,3,8,8")

CHANGES = '''
from bitwright.problems import Peak
from bitwright.problems.costing import CostInteraction, CostSource

class Changes:
    """3 for each change of weight bits from a layer to the next, and 0.1 fixed."""

    name = "change_us"

    def cost(self, layer, precision):
        return 1

    def fixed_cost(self, network):
        return 0.1

    def interactions(self, network, candidates):
        return [
            CostInteraction((a, b), tuple(
                tuple(3 if p.weight_bits != q.weight_bits else 0 for q in candidates[b])
                for p in candidates[a]))
            for a, b in zip(network.names, network.names[1:])
        ]

    def source(self, layer, precision):
        return CostSource("int8", 0.25, precision.weight_bits == 4)

    def notes(self):
        return ["by hand"]

class Held:
    name = "peak_activation_bytes"

    def peaks(self, network, candidates):
        return [Peak(self.name, tuple({name: 2} for name in network.names))]
'''


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(ROOT)


@pytest.fixture
def models(tmp_path):
    """A file with cost models of one's own."""
    file = tmp_path / "mine.py"
    file.write_text(CHANGES + ENERGY.replace("from __future__ import annotations", ""), "utf-8")
    return file


def table(tmp_path, *precisions):
    """A table of measured costs of the small model."""
    rows = [
        f"{layer},{w},{a},{w}.1,0.5"
        for layer in ("stem", "side", "body", "head")
        for w, a in precisions
    ]
    file = tmp_path / "board.csv"
    head = "# device: a board\nlayer,weight_bits,activation_bits,latency_us,energy_uj"
    file.write_text("\n".join([head, *rows]), encoding="utf-8")
    return file


def test_several_costs_at_once(capsys, tmp_path, models):
    """Names, a table of measured costs and a class of a file, each with options; exact totals in order."""
    board = table(tmp_path, (4, 8), (8, 8))
    answer = answered(
        capsys, SMALL, *IMAGE, "--bits", "8", "--precision", "w4a8", "--cost", "size_bits", "--cost", board,
        "--cost", f"{board}:cost=energy_uj", "--cost", "bitops",
        "--cost", f"{models}:Energy:picojoule_per_bit=2:name=fetch_uj",
    )  # fmt: skip
    weights = sum(layer["parameters"] for layer in answer["layers"])
    assert list(answer["costs"]) == ["w8a8", "w4a8"]
    for label, bits in (("w8a8", 8), ("w4a8", 4)):
        costs = answer["costs"][label]
        assert list(costs) == ["size_bits", "latency_us", "energy_uj", "bitops", "fetch_uj"]
        assert costs["size_bits"] == weights * bits
        assert costs["latency_us"] == float(4 * Decimal(f"{bits}.1"))
        assert costs["energy_uj"] == 2
        assert isinstance(costs["energy_uj"], int)
        assert costs["fetch_uj"] == pytest.approx(weights * bits * 2e-6)


def test_totals_are_those_of_the_problem(capsys, models):
    """Pairs, fixed costs and peaks are in the total, as in an allocation problem of one configuration."""
    pins = ("--pins", "body=w8a8")
    answer = answered(
        capsys, SMALL, *IMAGE, "--precision", "w4a8", *pins, "--cost", f"{models}:Changes",
        "--cost", f"{models}:Held", "--per-layer",
    )  # fmt: skip
    names = [layer["name"] for layer in answer["layers"]]
    changes = sum("body" in pair for pair in itertools.pairwise(names))
    assert changes == 2
    assert answer["costs"] == {
        "w4a8": {"change_us": 4 + 3 * changes + 0.1, "peak_activation_bytes": 16}
    }
    assert answer["layer_costs"] == {"w4a8": {name: {"change_us": 1} for name in names}}
    assert answer["notes"] == {"change_us": ["by hand"]}


def test_what_is_added_can_be_read_back(capsys, tmp_path, models):
    """A document with costs of layers and notes is a network description as any other."""
    answer = answered(capsys, SMALL, *IMAGE, "--cost", f"{models}:Changes", "--per-layer")
    (tmp_path / "network.json").write_text(json.dumps(answer), encoding="utf-8")
    assert len(read_network(tmp_path / "network.json")) == len(answer["layers"])


def test_layers_in_text(capsys, models):
    """Every layer with its cost, share and source, what belongs to none, and the notes below."""
    status, out, _ = run(
        capsys, "cost", SMALL, *IMAGE, "--precision", "w4a8", "--precision", "w8a8", "--pins", "body=w8a8",
        "--cost", f"{models}:Changes", "--per-layer",
    )  # fmt: skip
    assert status == 0
    _, _, costs = out.partition("change_us of every layer:\n")
    rows = {line.split("  ")[0]: line.split() for line in costs.splitlines() if line}
    assert rows["stem"][1:3] == ["1", "9.9"]  # of 10.1 in all
    assert "interpolated" in rows["stem"]
    assert "interpolated" not in rows["body"]
    assert rows["(no layer's)"][2:4] == ["0.1", "1.0"]
    assert rows["(between layers)"][2:4] == ["6", "59.4"]
    assert rows["w4a8"] == ["w4a8", "10.1"]
    assert rows["w8a8"] == ["w8a8", "4.1"]
    assert out.rstrip().endswith("change_us: by hand")


def test_a_device_limits_and_explains(capsys):
    """What it does not store is left out and said; the others say how many layers run as what."""
    arguments = (
        SMALL,
        *IMAGE,
        "--bits",
        "4",
        "--bits",
        "2",
        "--precision",
        "w8a8",
        "--device",
        "nvidia_t4",
    )
    status, out, _ = run(capsys, "cost", *arguments)
    assert status == 0
    assert "w2a2 is left out: device 'nvidia_t4' does not store stem (Conv2d) at w2a2" in out
    rows = [line.split() for line in out.splitlines()]
    assert next(row for row in rows if row[:1] == ["w8a8"])[-2:] == ["int8", "4"]
    assert next(row for row in rows if row[:1] == ["w4a4"])[-2:] == ["int4", "4"]
    status, out, err = run(capsys, "cost", *arguments, "--json")
    assert status == 0
    assert err.startswith(
        "w2a2 is left out: device 'nvidia_t4' does not store stem (Conv2d) at w2a2"
    )
    answer = json.loads(out)
    assert set(answer["costs"]) == {"w4a4", "w8a8"}
    assert answer["costs"]["w4a4"] == costs_by_hand(answer, 4)


def test_a_roofline_by_hand(capsys):
    """A convolution of few channels waits for the memory: its bytes by the bandwidth of the data sheet."""
    answer = answered(
        capsys,
        SMALL,
        *IMAGE,
        "--bits",
        "8",
        "--cost",
        "roofline",
        "--device",
        "nvidia_t4",
        "--per-layer",
    )
    stem = 3 * 4 * 9 + 3 * 64 + 4 * 64
    costs = answer["layer_costs"]["w8a8"]
    assert costs["stem"]["roofline_latency_us"] == pytest.approx(stem / 320e9 * 1e6, abs=1e-6)
    total = sum(of["roofline_latency_us"] for of in costs.values())
    assert answer["costs"]["w8a8"]["roofline_latency_us"] == pytest.approx(total)


def test_everything_left_out(capsys):
    """Where nothing is stored there are no totals, and the reasons alone are said."""
    status, out, _ = run(capsys, "cost", SMALL, *IMAGE, "--bits", "2", "--device", "nvidia_t4")
    assert status == 0
    assert "every layer at one precision" not in out
    assert "w2a2 is left out" in out


@pytest.mark.parametrize("flag", ["--plot-costs", "--plot-roofline"])
def test_pictures(capsys, tmp_path, flag):
    """Each is written, said, and the same every time."""
    files = [tmp_path / name for name in ("a.svg", "b.svg")]
    for file in files:
        status, _, err = run(
            capsys, "cost", SMALL, *IMAGE, "--device", "nvidia_t4", "--cost", "roofline",
            "--cost", "bitops", flag, file,
        )  # fmt: skip
        assert (status, err) == (0, f"drawn: {file}\n")
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cost", "bitop"], "unknown cost model 'bitop'; did you mean 'bitops'?"),
        (["--cost", "none.csv"], "cost model 'latency_table': none.csv: no such file"),
        (["--cost", "none.py:Energy"], "none.py: no such file"),
        (["--cost", "latency_table"], "cost model 'latency_table': key 'file' is missing"),
        (["--cost", "bitops:x"], "a cost model is written NAME[:OPTION=VALUE...]"),
        (["--cost", "bitops", "--cost", "bitops"], "two cost models are named 'bitops'"),
        (["--cost", "roofline"], "cost 'roofline_latency_us' needs a device"),
        (["--cost", "roofline:cost=time"], "cost model 'roofline': cost: unknown 'time'"),
        (["--device", "nvidia_t5"], "unknown device 'nvidia_t5'; did you mean 'nvidia_t4'?"),
        (["--precision", "w4"], "a precision is written like 'w4a8'"),
        (["--plot-costs", "x.gif"], "x.gif: a plot file ends in one of"),
        (["--plot-roofline", "x.png"], "cost 'roofline_latency_us' needs a device"),
        (["--bits", "2", "--device", "nvidia_t4", "--plot-roofline", "x.png"], "--plot-roofline: the device stores none"),
        (["--bits", "2", "--device", "nvidia_t4", "--plot-costs", "x.png"], "--plot-costs: there is no cost of a layer"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(capsys, arguments, message):
    """Exit status 2, and one line with what is wrong and the nearest valid name."""
    assert refused(capsys, "cost", SMALL, *IMAGE, *arguments).startswith(message)


def test_a_row_that_is_missing_is_an_error(capsys, tmp_path):
    """A table that does not cover what is asked for is named with what it covers; nothing is left out."""
    board = table(tmp_path, (8, 8))
    message = refused(capsys, "cost", SMALL, *IMAGE, "--cost", board, "--bits", "4")
    assert "'stem'" in message
    assert "w4a4" in message


def test_recurrent_layers_stay_float32_on_a_device(capsys):
    """What cannot be quantized runs in float32, and the count of layers says so."""
    arguments = (f"{MODELS}:recurrent", "--input", "2,5,8", "--bits", "8", "--device", "nvidia_t4")
    status, out, _ = run(capsys, "cost", *arguments)
    assert status == 0
    row = next(line for line in out.splitlines() if line.startswith("w8a8 "))
    assert sorted(row.split()[-4:]) == sorted(["float32", "1,", "int8", "1"])


def test_the_device_of_a_run_configuration(capsys, tmp_path):
    """A run's device counts for its costs, unless another one is named."""
    source = (ROOT / "configs/digits.yaml").read_text(encoding="utf-8")
    source = source.replace("digits_x86_latency.csv", str(ROOT / "configs/digits_x86_latency.csv"))
    file = tmp_path / "run.yaml"
    file.write_text(f"{source}\ndevice: nvidia_t4\n", encoding="utf-8")
    for arguments, expected in (((), "int8 10"), (("--device", "bit_fusion"), "fused 10")):
        status, out, _ = run(capsys, "cost", file, "--bits", "8", *arguments)
        assert status == 0
        row = next(line for line in out.splitlines() if line.startswith("w8a8 "))
        assert row.endswith(expected)
