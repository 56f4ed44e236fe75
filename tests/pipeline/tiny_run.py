"""A complete run that takes seconds, and what must not differ between two runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from bitwright.run_config import RunConfig, parse_run_config

RESULTS = (
    "network.json", "critical.json", "problem.json", "front.json", "front_points.json", "verified.json",
    "float.safetensors", "significance/float_losses_classification.npy",
    "significance/losses_classification.npy", "costs.json", "significance/semantic.csv", "significance/overall.csv",
)  # fmt: skip
"""Files that are the same, byte for byte, however often a run was interrupted."""

PICTURES = tuple(
    f"{n}.{s}"
    for n in ("pareto", "verified", "significance", "confusion", "costs")
    for s in ("png", "svg")
)
"""These too."""


def settings(**changes: Any) -> dict[str, Any]:
    """The settings of the run; a change replaces a top-level key."""
    return {
        "name": "tiny",
        "task": {"name": "digits", "widths": [16], "noise": 0.2},
        "training": {"epochs": 3, "batch_size": 64},
        "calibration": {"batches": 2},
        "precisions": ["w2a8", "w4a8", "w8a8"],
        "costs": ["bitops", "size_bits"],
        "solutions": {"small": {"size_bits": "30%"}, "both": {"size_bits": "60%", "bitops": "50%"}},
        "front": {"cost": "size_bits", "points": 5},
        "verify": {"front_points": 2, "uniform": ["w4a8"], "qat": {"epochs": 1, "batch_size": 64}},
    } | changes


def config(**changes: Any) -> RunConfig:
    """The run configuration."""
    return parse_run_config(yaml.safe_dump(settings(**changes)), "tiny.yaml")


def solution(folder: Path, name: str) -> dict[str, Any]:
    """A solution without its time."""
    document = json.loads((folder / f"solutions/{name}.json").read_text())
    del document["seconds"]
    return document


def digests(folder: Path, names: tuple[str, ...] = RESULTS) -> dict[str, Any]:
    """The results of a finished run, to compare with another one's."""
    found: dict[str, Any] = {
        n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names
    }
    return found | {p.stem: solution(folder, p.stem) for p in (folder / "solutions").iterdir()}


class Lines:
    """A reporter that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def bar(self, title: str) -> Lines:
        return self

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def update(self, done: int, total: int, note: str = "") -> None:
        """Nothing to show."""
        assert 0 <= done <= total

    @property
    def done(self) -> list[str]:
        """Titles of the stages that were carried out, not skipped."""
        titles = [line.partition("] ")[2] for line in self.said if line.startswith("[")]
        return [title for title in titles if not title.endswith(": done before")]
