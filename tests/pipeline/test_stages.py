"""A tiny complete run: what it leaves, what is done again and what is not, and where it may be interrupted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from bitwright.cli import main
from bitwright.pipeline import drawing, scoring, stages, training
from bitwright.pipeline.evaluating import Evaluated
from bitwright.pipeline.stages import STAGES, carry_out
from bitwright.problems import InputError
from bitwright.problems.formats import (
    read_front,
    read_network,
    read_problem,
    read_solution,
    write_atomic,
)
from bitwright.problems.measurements import Quality
from bitwright.quantization import fit
from bitwright.report import report_html
from bitwright.significance import read_losses

from .tiny_run import PICTURES, RESULTS, Lines, config, digests, settings

TITLES = {stage.name: stage.title for stage in STAGES}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished run; not to be changed."""
    return carry_out(config(), tmp_path_factory.mktemp("runs"), Lines())


@pytest.fixture
def runs(finished, tmp_path) -> Path:
    """A folder of runs with a copy of the finished run in it."""
    shutil.copytree(finished, tmp_path / "runs/tiny")
    return tmp_path / "runs"


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Pictures are left empty: drawing takes longer than all else."""
    monkeypatch.setattr(drawing, "save", lambda _, path: write_atomic(path, "<svg/>"))


def again(runs: Path, **changes) -> list[str]:
    """Carry out the run with changed settings; returns the names of the stages that were done."""
    lines = Lines()
    carry_out(config(**changes), runs, lines)
    return [name for name, title in TITLES.items() if title in lines.done]


def test_it_leaves_what_the_format_lists(finished):
    """Every file of a run folder is there and reads back with our own readers."""
    listed = (
        *RESULTS,
        *PICTURES,
        "manifest.json",
        "config.yaml",
        "report.html",
        "significance/index.json",
    )
    assert [name for name in listed if not (finished / name).is_file()] == []
    assert sorted(p.name for p in (finished / "solutions").iterdir()) == ["both.json", "small.json"]
    problem = read_problem(finished / "problem.json")
    assert problem.layers == read_network(finished / "network.json").names
    assert problem.cost_names == ("bitops", "size_bits")
    for name in ("small", "both"):
        solution = read_solution(finished / f"solutions/{name}.json")
        assert problem.evaluate(problem.selection(solution.configuration)).loss == solution.loss
    front = read_front(finished / "front.json")
    assert front.exact
    assert len(read_front(finished / "front_points.json")) <= 5 <= len(front)
    assert read_losses(finished / "significance").object_classes.size > 100
    manifest = json.loads((finished / "manifest.json").read_text())
    assert list(manifest["stages"]) == list(TITLES)
    assert (
        yaml.safe_load((finished / "config.yaml").read_text())
        == config().document()
        == manifest["config"]
    )
    assert [p for p in finished.rglob(".*") if p.name != ".lock"] == []
    assert not list((finished / "checkpoints").iterdir())


def test_what_was_verified_is_true_of_the_problem(finished):
    """Costs, predicted loss and dominance in verified.json are recomputed here from the problem."""
    problem = read_problem(finished / "problem.json")
    verified = json.loads((finished / "verified.json").read_text())
    assert (verified["format"], verified["quality_split"]) == ("bitwright-verified/1", "test")
    kinds = [point["kind"] for point in verified["points"]]
    assert set(kinds) == {"solution", "front", "uniform"}
    assert kinds.count("solution") == 2
    flat = [
        (p["costs"]["size_bits"], p["qat"]["metrics"]["accuracy"]["mean"])
        for p in verified["points"]
    ]
    for point, (cost, quality) in zip(verified["points"], flat, strict=True):
        selection = [
            next(j for j in problem.span(name) if problem.weight_bits[j] == bits["weight_bits"])
            for name, bits in point["bits"].items()
        ]
        evaluation = problem.evaluate(np.array(selection))
        assert evaluation.loss == point["predicted_loss"]
        assert evaluation.costs == point["costs"]
        beaten = any(c <= cost and q >= quality and (c, q) != (cost, quality) for c, q in flat)
        assert point["dominated"] is beaten
        confusion = np.array(point["ptq"]["confusion"])
        assert point["ptq"]["metrics"]["accuracy"] == pytest.approx(
            np.trace(confusion) / confusion.sum()
        )


def test_running_again_does_nothing(runs):
    """Every stage is found done before, and no byte of any file changes."""
    before = {p: p.read_bytes() for p in runs.rglob("*") if p.is_file()}
    assert again(runs) == []
    assert {p: p.read_bytes() for p in runs.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "redone"),
    [
        ({"solutions": {"small": {"size_bits": "40%"}}}, ["solve", "verify", "draw"]),
        ({"verify": {"front_points": 0, "uniform": ["w2a8"]}}, ["verify", "draw"]),
        ({"costs": ["size_bits"], "solutions": {}}, ["problem", "solve", "verify", "draw"]),
        ({"critical": {"classes": ["1", "8"]}}, ["mine", "score", "problem", "solve", "verify", "draw"]),
        ({"pins": {"first": "w8a8"}}, ["read", "score", "problem", "solve", "verify", "draw"]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("undrawn")
def test_a_changed_setting_redoes_what_depends_on_it(runs, changes, redone):
    """A changed setting redoes its stage and those after it; taken back, all results are as before."""
    before = digests(runs / "tiny")
    assert again(runs, **changes) == redone
    assert set(again(runs)) == set(redone)
    assert digests(runs / "tiny") == before


@pytest.mark.parametrize(
    ("name", "redone"),
    [("problem.json", ["problem"]), ("float.safetensors", ["train"]), ("pareto.png", ["draw"]), ("solutions/small.json", ["solve", "verify", "draw"])],
)  # fmt: skip
def test_a_damaged_result_is_made_again(runs, name, redone):
    """A result that was changed or deleted is made again, as it was; what rests on it only if it differs.

    A solution says how long it took, so that what rests on it is looked at again.
    """
    before = digests(runs / "tiny", RESULTS + PICTURES)
    (runs / "tiny" / name).write_bytes(b"{}") if name.startswith("p") else (
        runs / "tiny" / name
    ).unlink()
    assert again(runs) == redone
    assert digests(runs / "tiny", RESULTS + PICTURES) == before


@pytest.mark.usefixtures("undrawn")
def test_other_weights_redo_all_that_rests_on_them(runs, monkeypatch):
    """Weights that come out otherwise, as on another machine, leave no score or measurement of old ones."""
    (runs / "tiny/float.safetensors").unlink()
    journal = {path.name for path in (runs / "tiny/verify").iterdir()}

    def fit_otherwise(model, *arguments, **options):
        loss = fit(model, *arguments, **options)
        with torch.no_grad():
            next(model.parameters()).mul_(1.01)
        return loss

    monkeypatch.setattr(training, "fit", fit_otherwise)
    assert set(again(runs)) >= {"train", "mine", "score", "problem", "solve", "verify"}
    assert list((runs / "tiny").glob("significance-*"))
    assert not {path.name for path in (runs / "tiny/verify").iterdir()} <= journal


def test_a_kill_before_the_first_measurement(runs):
    """A folder of losses that does not yet say what it is for is begun anew."""
    before = digests(runs / "tiny")
    (runs / "tiny/significance/made_with.json").unlink()
    (runs / "tiny/significance/semantic.json").unlink()
    assert again(runs) == ["score"]
    assert digests(runs / "tiny") == before


@pytest.mark.usefixtures("undrawn")
def test_solutions_no_longer_asked_for_go(runs):
    """A set of budgets that was renamed or removed leaves no file, and no row in the report."""
    again(runs, solutions={"other": {"size_bits": "30%"}})
    assert [p.name for p in (runs / "tiny/solutions").iterdir()] == ["other.json"]
    assert "<td>small</td>" not in report_html(runs / "tiny")


@pytest.mark.usefixtures("undrawn")
def test_the_network_is_not_run_again_for_a_measure(runs, monkeypatch):
    """Another blend of the measures reads the stored losses; the network is not run for it."""
    arrays = "significance/losses_classification.npy"
    before = (runs / "tiny" / arrays).stat().st_mtime_ns
    monkeypatch.setattr(scoring, "apply_configuration", None)
    again(runs, significance=["overall"], verify={"front_points": 0, "solutions": False})
    assert (runs / "tiny" / arrays).stat().st_mtime_ns == before


@pytest.mark.usefixtures("undrawn")
def test_an_infeasible_set_of_budgets(runs, tmp_path, capsys):
    """Exit 3, the other sets solved and verified, the reason in the summary, the report written."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings(solutions={"small": {"size_bits": "30%"}, "none": {"size_bits": 1}})))  # fmt: skip
    assert main(["run", str(tmp_path / "tiny.yaml"), "--runs", str(runs), "--quiet"]) == 3
    out, err = capsys.readouterr()
    assert not err
    assert (
        "none: budget 'size_bits' = 1 cannot be met: the least that any configuration takes is"
        in out
    )
    verified = json.loads((runs / "tiny/verified.json").read_text())
    assert [p["name"] for p in verified["points"] if p["kind"] == "solution"] == ["small"]
    assert "cannot be met" in (runs / "tiny/report.html").read_text()


def fake_mining(monkeypatch, confusion) -> None:
    """Have the mining split found with this confusion matrix."""
    names = tuple("0123456789")
    accuracy = float(np.trace(confusion) / confusion.sum())
    quality = Quality(names, {"accuracy": accuracy}, dict.fromkeys(names, accuracy), confusion)
    monkeypatch.setattr(scoring, "evaluate", lambda *_: Evaluated(quality, np.arange(10), {}))


@pytest.mark.parametrize(
    ("confusion", "sentence"),
    [
        (np.eye(10, dtype=int), "no class is confused with another, so all count as critical: "),
        (np.eye(10, dtype=int)[::-1], "critical classes, from 5 pairs"),
    ],
    ids=["all are right", "none is right"],
)
def test_perfect_and_hopeless_networks(runs, monkeypatch, confusion, sentence):
    """A network without a confusion, and one that is always wrong, both go through to the pictures."""
    fake_mining(monkeypatch, confusion)
    shutil.rmtree(runs / "tiny/stages")
    monkeypatch.setattr(stages, "STAGES", [s for s in STAGES if s.name != "train"])
    monkeypatch.setattr(stages, "_fingerprint", lambda stage, *_: stage.name)
    carry_out(config(verify={"front_points": 0}), runs, Lines())
    assert json.loads((runs / "tiny/critical.json").read_text())["sentence"].startswith(sentence)
    assert (runs / "tiny/report.html").stat().st_size > 10_000


def test_an_untrained_network(tmp_path):
    """A network that learned nothing, and takes all for one class, goes through to the report."""
    training = {"epochs": 1, "batch_size": 512, "learning_rate": 1e-12}
    folder = carry_out(config(training=training, verify={"front_points": 0}), tmp_path, Lines())
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"front": {"cost": "size_bit"}}, "front: unknown cost 'size_bit'; did you mean 'size_bits'?"),
        ({"solutions": {"a": {"bitop": 5}}}, "solutions.a: unknown cost 'bitop'; did you mean 'bitops'?"),
        ({"pins": {"haed": "w8a8"}}, "pin 'haed' matches no layer of network 'tiny'; did you mean 'head'?"),
        ({"critical": {"classes": ["eleven"]}}, "unknown critical class 'eleven'"),
        ({"costs": ["bitops", {"name": "latency_table", "file": "absent.csv"}]}, "absent.csv: no such file"),
        ({"costs": ["bitops", "bitops"]}, "two cost models are named 'bitops'"),
        ({"significance": [{"name": "overall", "box_weight": -1}]}, "box_weight must be a number from 0 up"),
    ],
)  # fmt: skip
def test_typos_are_found_before_the_training(tmp_path, changes, message):
    """What a later stage would refuse is refused before the first one begins."""
    lines = Lines()
    with pytest.raises(InputError) as error:
        carry_out(config(**changes), tmp_path, lines)
    assert message in str(error.value)
    assert lines.said == []


class Killed(BaseException):
    """Stands for the end of a process."""


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_interrupted_at_every_write(finished, tmp_path, monkeypatch):
    """A run that dies each time that it wrote a file for the first time ends as if it never had."""
    rename, written = Path.replace, set()

    def rename_and_die(self, target):
        rename(self, target)
        if target not in written:
            written.add(target)
            raise Killed

    monkeypatch.setattr(Path, "replace", rename_and_die)
    deaths, ended = 0, False
    while not ended:
        try:
            carry_out(config(), tmp_path, Lines())
            ended = True
        except Killed:
            deaths += 1
            assert deaths < 200
    assert deaths == len(written) > 40
    assert digests(tmp_path / "tiny") == digests(finished)
