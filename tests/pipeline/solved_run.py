"""A tiny run that is solved and verified, without pictures, for tests of verification."""

from __future__ import annotations

import shutil
from pathlib import Path

from bitwright.pipeline import stages
from bitwright.pipeline.work import Work, open_run
from bitwright.problems import BitConfiguration, Precision

from .tiny_run import Lines, config

VERIFY = {
    "front_points": 2,
    "uniform": ["w4a8"],
    "qat": {"epochs": 2, "batch_size": 256},
    "seeds": [0, 5],
}


def carried_out(runs: Path, monkeypatch) -> Path:
    """The folder of a run whose pictures are not drawn: they take longer than all else."""
    with monkeypatch.context() as patch:
        patch.setattr(stages, "STAGES", [s for s in stages.STAGES if s.name != "draw"])
        settings = {"solutions": {"small": {"size_bits": "30%"}}, "verify": VERIFY}
        training = {"epochs": 1, "batch_size": 128}
        return stages.carry_out(config(training=training, **settings), runs, Lines())


def unverified(finished: Path, to: Path) -> Path:
    """A copy of the run as it was before it verified anything."""
    shutil.copytree(finished, to, ignore=shutil.ignore_patterns("verify", "verified.json", ".lock"))
    return to


def opened(folder: Path, **verify) -> Work:
    """The run at work, silent."""
    return open_run(folder, Lines(), **verify)


def results(folder: Path) -> dict[str, bytes]:
    """What verification leaves, byte for byte."""
    files = [folder / "verified.json", *(folder / "verify").iterdir()]
    return {path.name: path.read_bytes() for path in files}


def uniform(work: Work, label: str) -> BitConfiguration:
    """The same precision for every layer."""
    return BitConfiguration.uniform(work.problem.layers, Precision.parse(label))
