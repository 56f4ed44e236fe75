"""Stage `verify`: chosen configurations measured for real, after PTQ and after QAT.

Every measurement of one configuration is journaled in `verify/`, so that a killed run repeats at
most one, and a point that several questions ask for is measured once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitwright.pipeline.evaluating import Evaluated, evaluate
from bitwright.pipeline.folder import fingerprint
from bitwright.pipeline.offering import uniform_choices
from bitwright.pipeline.work import Work
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.exact import plain
from bitwright.problems.formats import read_front, read_solution
from bitwright.problems.formats.answers_json import bits_document
from bitwright.problems.front import non_dominated
from bitwright.problems.measurements import Quality
from bitwright.problems.version import __version__
from bitwright.quantization import apply_configuration, fit, quantized_copy

FORMAT = "bitwright-verified/1"


@dataclass(frozen=True)
class Point:
    """A configuration to be measured, and where it comes from: `solution`, `front` or `uniform`."""

    name: str
    kind: str
    configuration: BitConfiguration


def points_of(work: Work) -> list[Point]:
    """The configurations that the run asks to verify; each configuration once, first name kept."""
    section, problem = work.config.verify, work.problem
    points = []
    if section.solutions:
        for name in work.config.solutions:
            solution = read_solution(work.folder / f"solutions/{name}.json")
            if solution.configuration is not None:
                points.append(Point(name, "solution", solution.configuration))
    for precision in section.uniform:
        bits, missing = uniform_choices(precision, work.candidates)
        if missing:
            work.reporter.say(f"  uniform {precision} is left out: not offered to {missing[0]}")
            continue
        if problem.broken_ties(problem.selection(bits)):
            work.reporter.say(f"  uniform {precision} is left out: pins and ties contradict it")
            continue
        points.append(Point(f"uniform {precision}", "uniform", BitConfiguration(bits)))
    if section.front_points:
        front = read_front(work.folder / "front_points.json")
        for i in front.spread(section.front_points).tolist():
            configuration = front[i].configuration
            if configuration is not None:
                points.append(Point(f"front {i + 1}/{len(front)}", "front", configuration))
    first: dict[BitConfiguration, Point] = {}
    for point in points:
        first.setdefault(point.configuration, point)
    return list(first.values())


def verify(work: Work) -> list[str]:
    """Measure every point and write `verified.json`."""
    points = points_of(work)
    seeds = work.config.verify.seeds if work.config.verify.qat else ()
    total, done = 1 + len(points) * (1 + len(seeds)), 0
    with work.reporter.bar("verifying") as bar:

        def journaled(what: dict[str, Any], measure: Callable[[Path], Any]) -> Any:
            nonlocal done
            key = _key(work, what)[:16]
            name, checkpoint = f"verify/{key}.json", work.folder / f"checkpoints/qat-{key}.pt"
            if not (work.folder / name).exists():
                work.folder.write_json(name, {"what": what, "result": measure(checkpoint)})
                checkpoint.unlink(missing_ok=True)
            done += 1
            bar.update(done, total)
            return work.folder.read_json(name)["result"]

        base = journaled({"kind": "float"}, partial(_float, work))
        measured = []
        for point in points:
            bits = bits_document(point.configuration)
            ptq = journaled({"kind": "ptq", "bits": bits}, partial(_ptq, work, point.configuration))
            qat = [
                journaled(
                    {"kind": "qat", "bits": bits, "seed": seed},
                    partial(_qat, work, point.configuration, seed),
                )
                for seed in seeds
            ]
            measured.append(_entry(work, point, base, ptq, qat))
    _mark_dominated(measured, base["quality"]["main"])
    document = {
        "format": FORMAT,
        "version": __version__,
        "seed": work.config.seed,
        "loss_reading": "overall" if work.config.significance[0].name == "overall" else "critical",
        "cost": work.config.front.cost,
        "quality_split": "test",
        "loss_split": "score",
        "main_metric": base["quality"]["main"],
        "critical_classes": list(work.critical.classes),
        "seeds": list(seeds),
        "float": base,
        "points": measured,
    }
    work.folder.write_json("verified.json", document)
    return ["verified.json"]


def _key(work: Work, what: dict[str, Any]) -> str:
    """Names a measurement by all that it depends on."""
    config = work.config.identity()
    recipe = config["verify"]["qat"] if what["kind"] == "qat" else None
    return fingerprint(
        what=what,
        weights=work.weights,
        data=work.data,
        settings={name: config[name] for name in ("calibration", "threads")},
        recipe=recipe,
        critical=list(work.critical.classes),
        version=__version__,
    )


def _float(work: Work, _: Path) -> dict[str, Any]:
    model = work.float_model()
    return {
        "quality": _quality(work, evaluate(model, work.task, "test").quality),
        "losses": _losses(work, evaluate(model, work.task, "score")),
    }


def _ptq(work: Work, configuration: BitConfiguration, _: Path) -> dict[str, Any]:
    model = work.float_model()
    with apply_configuration(model, configuration, work.calibration):
        return {
            "quality": _quality(work, evaluate(model, work.task, "test").quality),
            "losses": _losses(work, evaluate(model, work.task, "score")),
        }


def _qat(
    work: Work, configuration: BitConfiguration, seed: int, checkpoint: Path
) -> dict[str, Any]:
    """Fine-tune from the float weights with the configuration applied."""
    recipe = work.config.verify.qat
    assert recipe is not None, "QAT needs a recipe"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = quantized_copy(work.float_model(), configuration, work.calibration)
    fit(model, work.task, recipe, seed=seed, checkpoint=checkpoint)
    return {"quality": _quality(work, evaluate(model, work.task, "test").quality)}


def _quality(work: Work, quality: Quality) -> dict[str, Any]:
    return {
        "main": quality.main_name,
        "metrics": dict(quality.metrics),
        "critical": _number(quality.over_classes(work.critical.classes)),
        "per_class": {name: _number(v) for name, v in quality.per_class.items()},
        "confusion": quality.confusion.tolist(),
    }


def _losses(work: Work, evaluated: Evaluated) -> dict[str, float | None]:
    """Mean loss over critical and over all objects, the terms of an object added up."""
    total = np.sum([v.astype(np.float64) for v in evaluated.losses.values()], axis=0)
    wanted = [work.task.classes.index(name) for name in work.critical.classes]
    critical = total[np.isin(evaluated.object_classes, wanted)]
    return {
        "critical": _number(critical.mean() if critical.size else np.nan),
        "overall": _number(total.mean()),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _entry(work: Work, point: Point, base: Any, ptq: Any, qat: list[Any]) -> dict[str, Any]:
    evaluation = work.problem.evaluate(work.problem.selection(point.configuration))
    growth = {
        name: None
        if value is None or base["losses"][name] is None
        else value - base["losses"][name]
        for name, value in ptq["losses"].items()
    }
    return {
        "name": point.name,
        "kind": point.kind,
        "bits": bits_document(point.configuration),
        "costs": {name: plain(value) for name, value in evaluation.costs.items()},
        "predicted_loss": evaluation.loss,
        "measured_loss": growth,
        "ptq": ptq["quality"],
        "qat": _over_seeds([q["quality"] for q in qat]) if qat else None,
        "dominated": False,
    }


def _over_seeds(qualities: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread (standard deviation over seeds) of every figure, and the figures themselves."""

    def spread(values: list[float | None]) -> dict[str, Any]:
        known = [v for v in values if v is not None]
        mean = float(np.mean(known)) if known else None
        deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
        return {"mean": mean, "spread": deviation, "seeds": values}

    first = qualities[0]
    return {
        "metrics": {n: spread([q["metrics"][n] for q in qualities]) for n in first["metrics"]},
        "critical": spread([q["critical"] for q in qualities]),
        "per_class": {
            n: spread([q["per_class"][n] for q in qualities]) for n in first["per_class"]
        },
    }


def _mark_dominated(measured: list[dict[str, Any]], metric: str) -> None:
    """Mark the points that another one beats: no dearer in any cost, and of at least the quality.

    Quality is the metric after QAT where that was done; its noise is not allowed for.
    """
    if not measured:
        return
    costs = np.array([list(m["costs"].values()) for m in measured], dtype=np.float64)
    quality = [best_quality(m, metric) for m in measured]
    kept = set(non_dominated(costs, -np.array(quality)).tolist())
    for i, entry in enumerate(measured):
        entry["dominated"] = i not in kept


def best_quality(entry: dict[str, Any], metric: str) -> float:
    """The metric after QAT where that was done, else after PTQ."""
    if entry["qat"] is None:
        return float(entry["ptq"]["metrics"][metric])
    return float(entry["qat"]["metrics"][metric]["mean"])


def spread_of(entry: dict[str, Any], metric: str) -> float:
    """Standard deviation of the metric after QAT over seeds, 0 where there is only one."""
    spread = None if entry["qat"] is None else entry["qat"]["metrics"][metric]["spread"]
    return 0.0 if spread is None else float(spread)
