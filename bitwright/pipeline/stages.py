"""The stages of a run in their order, what each depends on, and the loop that carries them out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from bitwright.pipeline.drawing import draw
from bitwright.pipeline.folder import RunFolder, digest_of_file, fingerprint
from bitwright.pipeline.preflight import check
from bitwright.pipeline.scoring import mine, score
from bitwright.pipeline.solving import make_problem, solve
from bitwright.pipeline.training import read, train
from bitwright.pipeline.verifying import verify
from bitwright.pipeline.work import Work
from bitwright.problems.formats import write_atomic
from bitwright.problems.version import __version__
from bitwright.progress import Reporter
from bitwright.run_config import RunConfig


@dataclass(frozen=True)
class Stage:
    """One step of a run: its settings and earlier stages decide when it must be done again."""

    name: str
    title: str
    settings: tuple[str, ...]
    after: tuple[str, ...]
    carry_out: Callable[[Work], list[str]]


STAGES = (
    Stage("train", "train the float network", ("task", "training", "seed", "threads"), (), train),
    Stage(
        "read", "read the network",
        ("name", "task", "calibration", "pins", "ties", "seed"), (), read,
    ),
    Stage("mine", "find the critical classes", ("critical",), ("train",), mine),
    Stage(
        "score", "measure significance",
        ("precisions", "variants", "device", "calibration", "significance", "clean_up"),
        ("train", "read", "mine"), score,
    ),
    Stage("problem", "tabulate costs", ("costs", "device"), ("read", "score"), make_problem),
    Stage("solve", "solve", ("solutions", "solver", "front", "device", "seed"), ("problem",), solve),
    Stage("verify", "verify on the real network", ("verify", "threads"), ("train", "solve"), verify),
    Stage("draw", "draw", (), ("mine", "score", "verify"), draw),
)  # fmt: skip


def carry_out(config: RunConfig, runs: Path, reporter: Reporter) -> Path:
    """Carry out a run, or what is left of it, in `runs/NAME/`; returns that folder."""
    folder = RunFolder(runs / config.name)
    torch.set_num_threads(config.threads)
    settings = config.document()
    with folder.locked():
        work = Work(config, folder, reporter)
        check(work)
        write_atomic(
            folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        )
        made: dict[str, str] = {}
        for number, stage in enumerate(STAGES, start=1):
            made[stage.name] = _fingerprint(stage, work, made)
            _carry_out_stage(
                work, stage, made[stage.name], f"[{number}/{len(STAGES)}] {stage.title}"
            )
            made[stage.name] = fingerprint(
                inputs=made[stage.name], outputs=folder.outputs(stage.name)
            )
            folder.write_manifest(settings, [s.name for s in STAGES], work.data)
    return folder.path


def _carry_out_stage(work: Work, stage: Stage, identity: str, title: str) -> None:
    if work.folder.is_finished(stage.name, identity):
        work.reporter.say(f"{title}: done before")
        return
    work.reporter.say(title)
    began = time.perf_counter()
    outputs = stage.carry_out(work)
    seconds = time.perf_counter() - began
    work.folder.finish(stage.name, identity, outputs, seconds)
    work.reporter.say(f"  {seconds:.1f} s")


def _fingerprint(stage: Stage, work: Work, made: Mapping[str, str]) -> str:
    """All that a stage's outputs follow from: settings, data, files, and what came before it."""
    settings = work.config.identity()
    return fingerprint(
        stage=stage.name,
        version=__version__,
        settings={name: settings[name] for name in stage.settings},
        data=work.data,
        files=[digest_of_file(path) for path in work.config.files(stage.settings)],
        after={name: made[name] for name in stage.after},
    )
