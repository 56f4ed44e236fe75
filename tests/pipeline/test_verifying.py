"""Verification: jobs in any number of processes, kept trained networks, and what stops it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import load_file

from bitwright.pipeline import measuring, workers
from bitwright.pipeline.evaluating import evaluate
from bitwright.pipeline.measuring import Measurement, key_of, measure
from bitwright.pipeline.verifying import verified_model, verify
from bitwright.pipeline.workers import Workers, measure_all
from bitwright.problems import InputError, MeasurementError
from bitwright.problems.formats import read_solution, read_verified
from bitwright.quantization import apply_configuration, fit, quantized_copy

from .solved_run import carried_out, opened, results, uniform, unverified
from .tiny_run import Lines

SEEDS = (0, 5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run that verified one measurement after the other; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        return carried_out(tmp_path_factory.mktemp("runs"), patch)


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of the finished run."""
    shutil.copytree(finished, tmp_path / "tiny")
    return tmp_path / "tiny"


def test_two_processes_find_what_one_does(finished, tmp_path):
    """Every figure and every trained weight is the same, byte for byte, from two worker processes."""
    folder = unverified(finished, tmp_path / "tiny")
    seen: list[tuple[int, int, str]] = []
    work = opened(folder)
    work.reporter = Counting(seen)
    verify(work, workers=Workers(jobs=2))
    assert results(folder) == results(finished)
    assert list((folder / "checkpoints").iterdir()) == []
    total = 1 + len(read_verified(folder / "verified.json").points) * (1 + len(SEEDS))
    assert [done for done, *_ in seen] == list(range(total + 1))
    assert {whole for _, whole, _ in seen} == {total}
    assert "'small' (QAT, seed 5)" in {name for *_, name in seen}


class Counting(Lines):
    """A reporter that keeps the progress."""

    def __init__(self, seen: list[tuple[int, int, str]]) -> None:
        super().__init__()
        self.seen = seen

    def update(self, done: int, total: int, note: str = "") -> None:
        self.seen.append((done, total, note))


def test_a_local_cluster_finds_what_one_process_does(finished, tmp_path):
    """Two dask worker processes leave the same float and PTQ results."""
    folder = unverified(finished, tmp_path / "tiny")
    pytest.importorskip("distributed")
    work = opened(folder)
    wanted = [Measurement("float"), Measurement("ptq", "x", uniform(work, "w4a8"))]
    keys = measure_all(work, wanted, Workers(2, "dask"), lambda *_: None)
    for key in keys:
        name = f"verify/{key}.json"
        assert (folder / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.slow
def test_a_cluster_at_an_address_verifies_a_whole_run(finished, tmp_path):
    """Workers with threads, reached by their scheduler's address, leave the same bytes, weights included."""
    distributed = pytest.importorskip("distributed")
    folder = unverified(finished, tmp_path / "tiny")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster:  # fmt: skip
        address = cluster.scheduler_address
        verify(opened(folder), workers=Workers(backend="dask", scheduler=address))
    assert results(folder) == results(finished)


def test_what_is_measured_is_not_measured_again(run, monkeypatch):
    """Of deleted results and weights just these are made again, and are as they were."""
    before = results(run)
    document = next(p for p in (run / "verify").glob("*.json") if '"seed": 5' in p.read_text())
    weights = run / read_verified(run / "verified.json").points[0].weights[0]
    for path in (document, weights, run / "verified.json"):
        path.unlink()
    done_before = next(p.stem for p in (run / "verify").glob("*.json"))
    for left in (
        f"qat-{done_before}.pt",
        f"{done_before}.lock",
        f"{weights.stem}.lock",
    ):  # by a process that was killed
        (run / "checkpoints" / left).touch()
    done = []
    real = measuring._measured
    monkeypatch.setattr(measuring, "_measured", lambda *job: done.append(job[2]) or real(*job))
    verify(opened(run))
    assert sorted(done) == sorted([document.stem, weights.stem])
    assert results(run) == before
    assert list((run / "checkpoints").iterdir()) == []


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on(finished, tmp_path):
    """SIGKILL in the middle of two jobs: finished results stay, and the rest comes out the same."""
    folder = unverified(finished, tmp_path / "tiny")
    command = [sys.executable, "-m", "bitwright", "verify", str(folder), "--jobs", "2", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("verify/*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 3 <= len(list(folder.glob("verify/*.json"))) < len(list(finished.glob("verify/*.json")))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert results(folder) == results(finished)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_measurement_that_fails_is_named_and_the_others_are_kept(finished, run, jobs):
    """A training that cannot go on is told with point and seed; all else is finished meanwhile."""
    whole = results(run)
    solution = read_solution(run / "solutions/small.json").configuration
    work = opened(run)
    key = key_of(work, Measurement("qat", "small", solution, 5))
    kept = [path for path in (run / "verify").iterdir() if path.stem == key]
    other = next(p for p in (run / "verify").glob("*.json") if p.stem != key)
    for path in (*kept, other, run / "verified.json"):
        path.unlink()
    (run / f"checkpoints/qat-{key}.pt").write_bytes(b"broken")
    with pytest.raises(MeasurementError) as caught:
        verify(work, workers=Workers(jobs))
    assert str(caught.value).startswith("'small' (QAT, seed 5) cannot be measured: checkpoint ")
    assert str(caught.value).endswith("what was finished is kept")
    assert "load_checkpoint" in str(caught.value.__cause__)
    assert other.read_bytes() == whole[other.name]
    assert not (run / "verified.json").exists()


class Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (9,)


def test_a_worker_that_dies_is_told_with_its_point(finished):
    """A worker process that is gone, as after the system killed it, names what it had."""
    work = opened(finished)
    point = Measurement("ptq", "small", uniform(work, "w4a8"))
    job = workers._Job(work.config, Deadly(), "", point, "key")
    with pytest.raises(MeasurementError, match=r"worker process died .* at one of 'small' \(PTQ\)"):
        list(workers._by_loky([job], Workers(2), 1))


def test_a_worker_with_other_files_refuses(finished):
    """A worker that finds other weights or data where the folder should be measures nothing."""
    work = opened(finished)
    job = workers._Job(work.config, finished, "", Measurement("float"), "0" * 16)
    failure = workers._attempt(work, job)
    assert "the worker sees other data, other files in" in failure.reason
    assert not (finished / f"verify/{'0' * 16}.json").exists()


def test_who_waits_for_a_measurement_finds_its_result(run, monkeypatch):
    """A process that wants what another one is measuring waits, and does not measure it again."""
    work = opened(run)
    key = key_of(work, Measurement("float"))
    result = run / f"verify/{key}.json"
    content = result.read_bytes()
    result.unlink()
    monkeypatch.setattr(measuring, "_measured", lambda *_: pytest.fail("measured twice"))
    with FileLock(run / f"checkpoints/{key}.lock"):
        second = threading.Thread(target=measure, args=(work, Measurement("float"), key))
        second.start()
        second.join(0.3)
        assert second.is_alive()
        result.write_bytes(content)
    second.join(20)
    assert not second.is_alive()
    assert result.read_bytes() == content


def test_a_kept_network_is_as_good_as_recorded(finished):
    """Rebuilt with its weights, a trained network has exactly the recorded quality, for every seed."""
    work = opened(finished)
    verified = read_verified(finished / "verified.json")
    for point in verified.points[:2]:
        for i, seed in enumerate(SEEDS):
            model = verified_model(work, point.name, seed)
            assert not any(module.training for module in model.modules())
            found = evaluate(model, work.task, "test").quality
            recorded = point.qat
            assert found.metrics["accuracy"] == recorded.metrics["accuracy"].values[i]
            assert found.over_classes(work.critical.classes) == recorded.critical.values[i]
            for name, value in found.per_class.items():
                assert value == recorded.per_class[name].values[i]


def test_a_kept_network_is_the_trained_one(finished):
    """The file holds what a training by hand gives, and says bits, seed and recipe."""
    work = opened(finished)
    point = read_verified(finished / "verified.json").points[0]
    path = finished / point.weights[1]
    torch.set_num_threads(1)
    model = quantized_copy(work.float_model(), point.configuration, work.calibration)
    fit(model, work.task, work.config.verify.qat, seed=SEEDS[1])
    stored = load_file(path)
    assert stored.keys() == model.state_dict().keys()
    assert all(torch.equal(stored[name], value) for name, value in model.state_dict().items())
    with safe_open(path, framework="pt") as file:
        made_for = json.loads(file.metadata()["bitwright"])
    assert (made_for["seed"], made_for["recipe"]["epochs"]) == (5, 2)
    bits = {name: entry["weight_bits"] for name, entry in made_for["bits"].items()}
    assert bits == {name: precision.weight_bits for name, precision in point.configuration.items()}


def test_ptq_is_what_applying_by_hand_gives(finished):
    """Losses after PTQ grow by what a look at the score split says, and quality is that of the test split."""
    work = opened(finished)
    point = read_verified(finished / "verified.json").point("uniform w4a8")
    model = work.float_model()
    critical = [work.task.classes.index(name) for name in work.critical.classes]

    def loss() -> float:
        found = evaluate(model, work.task, "score")
        chosen = np.isin(found.object_classes, critical)
        return float(found.losses["classification"][chosen].astype(float).mean())

    before = loss()
    with apply_configuration(model, point.configuration, work.calibration):
        assert point.measured_loss["critical"] == pytest.approx(loss() - before, rel=1e-12)
        quality = evaluate(model, work.task, "test").quality
    assert dict(point.ptq.metrics) == dict(quality.metrics)


def test_weights_need_not_be_kept(finished, tmp_path):
    """Without keep_weights no network is stored, and the figures are the same."""
    folder = unverified(finished, tmp_path / "tiny")
    verify(opened(folder, keep_weights=False, front_points=0, uniform=[], seeds=[0]))
    assert not list((folder / "verify").glob("*.safetensors"))
    point = read_verified(folder / "verified.json").points[0]
    whole = read_verified(finished / "verified.json").point(point.name)
    assert point.weights == ()
    assert point.qat.metrics["accuracy"].values == whole.qat.metrics["accuracy"].values[:1]
    with pytest.raises(InputError, match="point 'small' was verified without keeping trained"):
        verified_model(opened(folder), "small", 0)


def test_networks_that_are_not_there_are_told(run):
    """Unknown points and seeds, files that are gone, damaged or another point's: one line each."""
    work = opened(run)
    verified = read_verified(run / "verified.json")
    first, second = (run / file for file in verified.points[0].weights)
    for point, seed, message in (
        ("smal", 0, "no verified point is named 'smal'; did you mean 'small'"),
        ("small", 1, r"no QAT with seed 1 was verified; known: \[0, 5\]"),
    ):
        with pytest.raises(InputError, match=message):
            verified_model(work, point, seed)
    shutil.copy(second, first)
    with pytest.raises(InputError, match="trained for other seed than those of the point"):
        verified_model(work, "small", 0)
    shutil.copy(run / verified.points[1].weights[0], first)
    with pytest.raises(InputError, match="trained for other bits than those of the point"):
        verified_model(work, "small", 0)
    first.write_bytes(b"x" * 100)
    with pytest.raises(InputError, match=r"safetensors: damaged \("):
        verified_model(work, "small", 0)
    first.unlink()
    with pytest.raises(InputError, match="no such file; `bitwright verify` makes it again"):
        verified_model(work, "small", 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jobs": 0}, "jobs must be an integer of at least 1, got 0"),
        ({"backend": "threading"}, "backend 'threading' would measure one at a time"),
        ({"backend": "lokky"}, "unknown backend 'lokky'; did you mean 'loky'"),
        ({"scheduler": "tcp://x"}, "a scheduler is for backend 'dask', not 'loky'"),
    ],
)
def test_workers_that_cannot_be(changes, message):
    """Every bad way to spread the work is one line."""
    with pytest.raises(InputError) as caught:
        replace(Workers(), **changes)
    assert message in str(caught.value)


def test_a_cluster_that_is_not_there(finished, tmp_path, monkeypatch):
    """An address where nobody listens, or that is none, is an error with the address in it."""
    folder = unverified(finished, tmp_path / "tiny")
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_SECONDS_TO_CONNECT", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(InputError, match=f"scheduler '{address}' cannot be used"):
            verify(opened(folder), workers=Workers(backend="dask", scheduler=address))
