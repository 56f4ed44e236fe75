"""Stage `verify`: chosen configurations measured for real, after PTQ and after QAT.

Every measurement is journaled in the run folder, so that a killed run repeats at most those that
were under way, and a point that several questions ask for is measured once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from bitwright.pipeline.measuring import (
    Measured,
    Measurement,
    read_measured,
    untrained,
    weights_file,
)
from bitwright.pipeline.points import Picks, Point, points_of
from bitwright.pipeline.work import Work
from bitwright.pipeline.workers import Workers, measure_all
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.exact import plain
from bitwright.problems.formats import read_verified, write_verified
from bitwright.problems.formats.answers_json import bits_document
from bitwright.problems.front import non_dominated
from bitwright.problems.verified import TrainedQuality, Verified, VerifiedPoint
from bitwright.problems.version import __version__

VERIFIED = "verified.json"


def verify(work: Work, picks: Picks | None = None, workers: Workers | None = None) -> list[str]:
    """Measure every point and write `verified.json`."""
    points = points_of(work, picks)
    workers = workers or Workers(jobs=work.config.verify.jobs)
    seeds = work.config.verify.seeds if work.config.verify.qat else ()
    wanted = [Measurement("float")]
    for point in points:
        wanted.append(Measurement("ptq", point.name, point.configuration))
        wanted += [Measurement("qat", point.name, point.configuration, seed) for seed in seeds]
    with work.reporter.bar("verifying") as bar:
        keys = measure_all(work, wanted, workers, bar.update)
    write_verified(_verified(work, points, seeds, keys), work.folder / VERIFIED)
    return [VERIFIED]


def verify_run(work: Work, picks: Picks, workers: Workers) -> None:
    """Verify points of a run that was solved, and draw them; holds the folder meanwhile.

    A later `bitwright run` verifies what its configuration says again, from the same journal.
    """
    # Matplotlib takes long to load, and workers, which load this module, draw nothing.
    from bitwright.pipeline.drawing import draw

    torch.set_num_threads(work.config.threads)
    with work.folder.locked():
        verify(work, picks, workers)
        draw(work)


def _verified(
    work: Work, points: Sequence[Point], seeds: tuple[int, ...], keys: Sequence[str]
) -> Verified:
    """The figures put together; the keys are in the order of the measurements."""
    base, of_points = read_measured(work, keys[0]), keys[1:]
    per_point = 1 + len(seeds)
    measured = [
        _point(work, point, base, of_points[i * per_point : (i + 1) * per_point])
        for i, point in enumerate(points)
    ]
    main = next(iter(base.quality.metrics))
    return Verified(
        version=__version__,
        seed=work.config.seed,
        loss_reading="overall" if work.config.significance[0].name == "overall" else "critical",
        cost=work.config.front.cost,
        main_metric=main,
        critical_classes=work.critical.classes,
        seeds=seeds,
        float_quality=base.quality,
        float_losses=base.losses,
        points=tuple(_with_dominated(measured, main)),
    )


def _point(work: Work, point: Point, base: Measured, keys: Sequence[str]) -> VerifiedPoint:
    evaluation = work.problem.evaluate(work.problem.selection(point.configuration))
    ptq, *qat = (read_measured(work, key) for key in keys)
    growth: dict[str, float | None] = {}
    for name, value in ptq.losses.items():
        before = base.losses[name]
        growth[name] = None if value is None or before is None else value - before
    kept = work.config.verify.keep_weights
    return VerifiedPoint(
        name=point.name,
        kind=point.kind,
        configuration=point.configuration,
        costs={name: plain(value) for name, value in evaluation.costs.items()},
        predicted_loss=evaluation.loss,
        measured_loss=growth,
        ptq=ptq.quality,
        qat=TrainedQuality.over(tuple(q.quality for q in qat)) if qat else None,
        dominated=False,
        weights=tuple(weights_file(key) for key in keys[1:]) if kept else (),
    )


def _with_dominated(points: Sequence[VerifiedPoint], metric: str) -> list[VerifiedPoint]:
    """Mark the points that another one beats: no dearer in any cost, and of at least the quality.

    Quality is the metric after QAT where that was done; its noise is not allowed for.
    """
    if not points:
        return []
    costs = np.array([list(point.costs.values()) for point in points], dtype=np.float64)
    kept = set(non_dominated(costs, [-point.best(metric) for point in points]).tolist())
    return [replace(point, dominated=i not in kept) for i, point in enumerate(points)]


def verified_model(work: Work, point: str, seed: int) -> nn.Module:
    """The quantized network that QAT gave for a verified point, in evaluation mode.

    It is rebuilt from the float network and loaded with the trained state, quantizers included, so
    that it is as good as recorded, exactly. Raises `InputError` for an unknown point or seed, and
    where the weights were not kept or are not those of the point.
    """
    verified = read_verified(work.folder / VERIFIED)
    chosen = verified.point(point)
    if seed not in verified.seeds:
        raise InputError(f"no QAT with seed {seed} was verified; known: {list(verified.seeds)}")
    if not chosen.weights:
        raise InputError(f"point {point!r} was verified without keeping trained weights")
    path = work.folder / chosen.weights[verified.seeds.index(seed)]
    return trained_model(work, chosen.configuration, seed, path)


def trained_model(work: Work, configuration: BitConfiguration, seed: int, path: Path) -> nn.Module:
    """The quantized network with the trained state of a file, as `verified_model`."""
    try:
        with safe_open(path, framework="pt") as file:
            made_for = json.loads((file.metadata() or {}).get("bitwright", "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; `bitwright verify` makes it again") from None
    except SafetensorError as error:
        raise InputError(
            f"{path}: damaged ({error}); delete it and `bitwright verify` again"
        ) from None
    wanted = {"bits": bits_document(configuration), "seed": seed}
    for name, value in wanted.items():
        if made_for.get(name) != value:
            raise InputError(f"{path}: trained for other {name} than those of the point")
    model = untrained(work, configuration, seed)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise InputError(f"{path}: weights of another network: {error}") from None
    return model.eval()
