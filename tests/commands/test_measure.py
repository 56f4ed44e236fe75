"""`bitwright measure` in ONNX Runtime: tables, networks, points of a run, resuming, and what is refused."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import onnx
import pytest
import yaml

from bitwright.measuring import host, models, points
from bitwright.pipeline.stages import carry_out
from bitwright.problems.formats import read_problem, read_solution

from ..pipeline.tiny_run import Lines, config
from .problems import refused, run

SMALL = "tests.commands.models:small"
FIGURES = (
    *("overhead_us", "rest_us", "factor_us_w8a8", "factor_us_w32a32"),
    *("change_us", "change_us_per_element"),
)
CHAIN = "tests.commands.models:chain"
QUICK = ("--input", "1,3,8,8", "--repeats", "3")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished run whose cost is a latency; not to be changed but by `measure`."""
    folder = tmp_path_factory.mktemp("runs")
    table = folder / "board.csv"
    layers = ("stem", "blocks.0.conv1", "blocks.0.conv2", "blocks.0.shortcut.0", "head")
    rows = [f"{name},{bits},{bits},{bits / 4}" for name in layers for bits in (4, 8, 32)]
    table.write_text("\n".join(["layer,weight_bits,activation_bits,latency_us", *rows]))
    settings = {
        "precisions": ["w4a4", "w8a8", "w32a32"],
        "costs": ["size_bits", {"name": "latency_table", "file": str(table)}],
        "solutions": {"small": {"size_bits": "1%"}, "fast": {"latency_us": "25%"}},
        "front": {"cost": "size_bits", "points": 3},
        "verify": {"front_points": 0, "solutions": False, "uniform": []},
    }
    return carry_out(config(**settings), folder, Lines())


def rows_of(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def test_a_table_with_its_networks(capsys, tmp_path):
    """Every operation has a row for both precisions with what it ran as; the head predicts networks.

    Mixed networks are measured beside uniform ones, and what is predicted of them is what the
    formula gives by hand.
    """
    out, plot = tmp_path / "table.csv", tmp_path / "table.svg"
    given = ("--input", "1,4,8,8", "--repeats", "3", "--calibration", "3", "--validation", "2")
    status, text, _ = run(capsys, "measure", CHAIN, "--out", out, "--json", "--plot", plot, *given)
    assert status == 0
    document, rows = json.loads(text), rows_of(out)
    assert {p.name for p in tmp_path.iterdir()} == {"table.csv", "table.svg"}
    assert plot.read_text().startswith("<?xml")
    assert len(rows) == 2 * 2 == len(document["operations"])
    for row in rows:
        assert float(row["latency_us"]) > 0
        assert float(row["latency_us_median"]) >= float(row["latency_us"])
    ran = {(r["op"], r["kernel_h"], r["weight_bits"]): r["runs_as"] for r in rows}
    assert (ran["Conv2d", "3", "8"], ran["Conv2d", "3", "32"]) == ("int8", "float32")
    assert not any(line.startswith("Conv2d") for line in document["not_in_integers"])

    networks = document["networks"]
    roles = [network["role"] for network in networks]
    assert roles == ["uniform"] * 2 + ["calibration"] * 3 + ["validation"] * 2
    errors = [abs(n["predicted_us"] / n["latency_us"] - 1) for n in networks[-2:]]
    assert document["mean_error"] == pytest.approx(sum(errors) / 2)
    assert document["largest_error"] == pytest.approx(max(errors))
    us = {
        (name, o["precision"]): o["latency_us"]
        for o in document["operations"]
        for name in o["layers"]
    }
    head = {key: float(document["header"][key]) for key in FIGURES}
    links = [("first", "second", 256), ("first", "last", 256), ("second", "last", 256)]
    for network in networks:
        bits = network["bits"]
        changes = [elements for a, b, elements in links if bits[a] != bits[b]]
        expected = head["overhead_us"] + head["rest_us"] + head["change_us"] * len(changes)
        expected += head["change_us_per_element"] * sum(changes)
        expected += sum(head[f"factor_us_{p}"] * us[layer, p] for layer, p in bits.items())
        assert network["predicted_us"] == pytest.approx(expected, rel=1e-4, abs=0.1)


def test_a_killed_measurement_goes_on(capsys, tmp_path, monkeypatch):
    """Interrupted, it keeps its rounds beside the table; the next one takes them, and they are gone."""
    from bitwright.measuring.journal import Journal

    out, add = tmp_path / "table.csv", Journal.add
    written = []

    def killed(self, finished):
        add(self, finished)
        written.append(finished)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", killed)
    quick = ("--input", "1,4,8,8", "--repeats", "3", "--precisions", "w32a32")
    given = ("measure", CHAIN, "--no-networks", "--out", out, *quick)
    status, _, err = run(capsys, *given)
    assert (status, out.exists()) == (130, False)
    assert "finished work is kept" in err
    assert (tmp_path / "table.csv.rounds").is_file()
    status, text, err = run(capsys, *given, "--json")
    assert status == 0
    assert len(written) == 3
    assert "table.csv.rounds: going on after 2 rounds" in " ".join(err.split())
    measured = json.loads(text)["operations"][0]
    key = f"{measured['layers'][0]} {measured['precision']}"
    least = min(r[key] for r in written) - min(r["empty run"] for r in written)
    assert measured["latency_us"] == pytest.approx(max(least, 0.01))
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_layers_that_are_functions_are_left_out(capsys, tmp_path):
    """Attention's products are named, and stand in no row; the text shows the others with their times."""
    out = tmp_path / "table.csv"
    source = "tests.commands.models:attention"
    given = ("--input", "1,4,8", "--repeats", "2", "--no-networks", "--precisions", "w32a32")
    status, text, err = run(capsys, "measure", source, "--out", out, *given)
    assert (status, err) == (0, "")
    assert "Left out, so that no figure stands for it" in text
    assert "0.self_attn.in_proj_weight: Linear is no module" in " ".join(text.split())
    assert "Linear 8->16 1x1/1 groups 1 on 4x1" in text
    assert text.rstrip().endswith(f"Written: {out}")
    assert {row["op"].partition("+")[0] for row in rows_of(out)} == {"Linear"}


def test_points_of_a_run(capsys, finished):
    """Solutions are exported with their bits and measured; predictions are the problem's own costs."""
    status, text, _ = run(capsys, "measure", finished, "--repeats", "3", "--json")
    assert status == 0
    document = json.loads(text)
    assert json.loads((finished / points.RESULT).read_text()) == document
    assert (finished / points.PICTURE).read_bytes().startswith(b"\x89PNG")
    assert not (finished / f"{points.RESULT}.rounds").exists()
    names = [point["name"] for point in document["points"]]
    assert names == [
        points.FLOAT,
        *yaml.safe_load((finished / "config.yaml").read_text())["solutions"],
    ]
    problem = read_problem(finished / "problem.json")
    for point in document["points"][1:]:
        solution = read_solution(finished / f"solutions/{point['name']}.json")
        predicted = problem.evaluate(problem.selection(solution.configuration)).costs["latency_us"]
        assert point["predicted"] == {"latency_us": float(predicted)}
        assert point["error"]["latency_us"] == pytest.approx(
            float(predicted) / point["latency_us"] - 1
        )
    fast, small = (next(p for p in document["points"] if p["name"] == n) for n in ("fast", "small"))
    budget = read_solution(finished / "solutions/fast.json").budgets["latency_us"]
    assert fast["budgets_us"] == {"latency_us": float(budget)}
    assert fast["keeps"] == (fast["latency_us"] <= budget)
    assert "keeps" not in small


def test_named_points_and_their_text(capsys, finished, monkeypatch):
    """Points are chosen by name; what is measured holds codes of 8 bits, or the narrow ones as stored."""
    files = {}
    load = models.random_inputs

    def seen(model, seed):
        types = {i.data_type for i in onnx.load_from_string(model).graph.initializer}
        files[len(files)] = onnx.TensorProto.INT4 in types
        return load(model, seed)

    monkeypatch.setattr(models, "random_inputs", seen)
    given = ("measure", finished, "--point", "small", "--repeats", "2")
    status, text, _ = run(capsys, *given)
    assert status == 0
    assert [line.split()[0] for line in text.splitlines()[2:4]] == ["float32", "small"]
    assert list(files.values()) == [False, False, False]
    files.clear()
    assert run(capsys, *given, "--as-stored")[0] == 0
    assert list(files.values()) == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--no-networks",), "--out is missing"),
        (("--out", "table.txt"), "ends in .csv"),
        (("--out", "no/where/table.csv"), "name a file in a folder"),
        (("--out", "t.csv", "--by", "layers"), "--by 'layers' is unknown; did you mean 'layer'"),
        (
            ("--out", "t.csv", "--runtime", "onnxrt"),
            "unknown runtime 'onnxrt'; did you mean 'onnxr",
        ),
        (("--out", "t.csv", "--precisions", "int8"), "a precision is written like 'w4a8'"),
        (("--out", "t.csv", "--point", "small"), "--point goes with a run folder"),
        (("--out", "t.csv", "--no-networks", "--plot", "p.png"), "--plot shows whole networks"),
        (("--out", "t.csv", "--threads", "0"), "must be an integer of at least 1"),
        (("--out", "t.csv", "--threads", "9999"), "--threads 9999: this process may use"),
        (("--out", "no/t.csv", "--read", "w8a8=p.json"), "name a file in a folder"),
        (("--out", "t.csv", "--calibration", "2"), "--calibration must be at least 3"),
        (("--out", "t.csv", "--validation", "90", *QUICK), "has 6 mixed configurations"),
    ],
)
def test_refusals(capsys, tmp_path, monkeypatch, arguments, said):
    """One line says what is wrong, before anything is exported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(host, "operation_model", None)
    assert said in refused(capsys, "measure", SMALL, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_refusals_of_run_folders(capsys, tmp_path, finished):
    """A folder must be that of a solved run, and takes no options of tables."""
    assert "not a run folder" in refused(capsys, "measure", tmp_path)
    assert "no point 'smal'" in refused(capsys, "measure", finished, "--point", "smal")
    out = refused(capsys, "measure", finished, "--out", tmp_path / "t.csv")
    assert "--out goes with a network" in out


@pytest.mark.slow
def test_resnet18(capsys, tmp_path):
    """ResNet18 at 64 x 64: 16 operations of 21 layers, all convolutions in integers, and predictions."""
    out = tmp_path / "resnet18.csv"
    given = ("--input", "1,3,64,64", "--repeats", "20", "--calibration", "6", "--validation", "6")
    status, text, _ = run(capsys, "measure", "torchvision:resnet18", "--out", out, "--json", *given)
    assert status == 0
    document = json.loads(text)
    assert len(rows_of(out)) == 2 * 16
    assert sum(len(o["layers"]) for o in document["operations"]) == 2 * 21
    assert [line for line in document["not_in_integers"] if line.startswith("Conv2d")] == []
    spread = statistics.median(o["spread_us"] / o["latency_us"] for o in document["operations"])
    if spread > 0.15:
        pytest.skip(f"medians are {spread:.0%} above the least: the machine is too busy to predict")
    assert document["mean_error"] < 0.3  # a few per cent on a quiet machine
