"""Measuring points of a run end to end, as they are exported, beside what the run predicted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from bitwright.measuring.models import EMPTY, batch_of, float_model, serialized, time_models
from bitwright.measuring.runtime import Runtime
from bitwright.measuring.timing import Times
from bitwright.pipeline.exporting import Chosen, choose
from bitwright.pipeline.work import Work, open_run
from bitwright.problems.errors import InputError
from bitwright.problems.formats import dump_json, read_solution, write_atomic
from bitwright.problems.version import __version__
from bitwright.progress import Reporter
from bitwright.quantization.export import export_qdq

FORMAT = "bitwright-latency/1"
RESULT, PICTURE = "latency.json", "latency.png"
FLOAT = "float32 network"
_MICROSECONDS = {"us": 1, "ms": 1000, "s": 1_000_000}


@dataclass(frozen=True)
class _Exported:
    """A point with its file; no point: the float network."""

    name: str
    model: bytes
    chosen: Chosen | None = None


def measure_points(
    folder: Path,
    points: Sequence[str],
    runtime: Runtime,
    *,
    threads: int,
    repeats: int,
    seed: int,
    in_integers: bool,
    reporter: Reporter,
) -> dict[str, Any]:
    """Export points of a run, measure them end to end, and write result and picture into its folder.

    Without `points`: all solutions of the run. `in_integers` exports them with 8-bit outputs and
    codes of 8 bits or more, as `bitwright export` does with `--integer-outputs --widen`. The float
    network is measured beside them. Returns what is written (`bitwright-latency/1`): predictions are
    the costs of the run's problem that are latencies, and a point `keeps` its budgets where the least
    time measured is within all of them.

    Raises `InputError` where the folder is none of a solved run or has no such point.
    """
    work = open_run(folder, reporter)
    with reporter.bar("exporting points") as bar:
        exported = _exported(work, points, in_integers, bar.update)
    journal = folder / f"{RESULT}.rounds"
    times = time_models(
        {one.name: one.model for one in exported},
        runtime,
        threads=threads,
        repeats=repeats,
        seed=seed,
        journal=journal,
        reporter=reporter,
    )
    document = {
        "format": FORMAT,
        "network": work.config.name,
        "runtime": f"{runtime.name} {runtime.version}",
        "date": time.strftime("%Y-%m-%d"),
        "version": __version__,
        "threads": threads,
        "batch": batch_of(work.task.example_inputs()),
        "repeats": repeats,
        "in_integers": in_integers,
        "overhead_us": times[EMPTY].least,
        "points": [_entry(work, one, times[one.name]) for one in exported],
    }
    write_atomic(folder / RESULT, dump_json(document) + "\n")
    _draw(document, folder / PICTURE)
    journal.unlink(missing_ok=True)
    return document


def _draw(document: dict[str, Any], path: Path) -> None:
    from bitwright.measuring.plot import draw_points
    from bitwright.plots import save

    save(draw_points(document), path)


def _exported(
    work: Work,
    points: Sequence[str],
    in_integers: bool,
    update: Callable[[int, int], None],
) -> list[_Exported]:
    names = list(dict.fromkeys(points)) or _solved(work)
    inputs = work.task.example_inputs()
    found = [_Exported(FLOAT, float_model(work.float_model(), inputs))]
    for number, name in enumerate(names):
        update(number, len(names))
        chosen = replace(choose(work.folder.path, name, work.reporter), work=work)
        model, example = chosen.model()
        if all(precision.is_float32 for precision in chosen.configuration.values()):
            file = found[0].model
        else:
            batches = work.calibration_inputs() if in_integers else None
            export = export_qdq(
                model, example, dynamic_batch=False, output_batches=batches, widen=in_integers
            )
            file = serialized(export.proto)
        found.append(_Exported(chosen.name, file, chosen))
    return found


def _solved(work: Work) -> list[str]:
    paths = {name: work.folder / f"solutions/{name}.json" for name in work.config.solutions}
    names = [name for name, path in paths.items() if read_solution(path).configuration is not None]
    if not names:
        raise InputError(f"{work.folder.path}: no solution of the run has bits; choose a --point")
    return names


def _entry(work: Work, one: _Exported, times: Times) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": one.name,
        "latency_us": times.least,
        "median_us": times.median,
        "spread_us": times.spread,
    }
    if one.chosen is None:
        return entry
    predicted, budgets = _predicted(work, one.chosen), _budgets(work, one.name)
    entry["weights"] = one.chosen.weights
    if predicted:
        entry["predicted"] = {name: float(us) for name, us in predicted.items()}
        entry["error"] = {n: float(us) / times.least - 1 for n, us in predicted.items()}
    if budgets:
        entry["budgets_us"] = {name: float(us) for name, us in budgets.items()}
        entry["keeps"] = all(times.least <= us for us in budgets.values())
    return entry


def _predicted(work: Work, chosen: Chosen) -> dict[str, Fraction]:
    """The latencies that the run's problem gives the point, in microseconds."""
    try:
        selection = work.problem.selection(chosen.configuration)
    except InputError:
        return {}  # a point of other precisions than the problem offers
    return _latencies(work.problem.evaluate(selection).costs)


def _budgets(work: Work, name: str) -> dict[str, Fraction]:
    path = work.folder / f"solutions/{name}.json"
    return _latencies(read_solution(path).budgets) if path.is_file() else {}


def _latencies(costs: Any) -> dict[str, Fraction]:
    return {
        name: Fraction(value) * _MICROSECONDS[name.rpartition("_")[2]]
        for name, value in costs.items()
        if name.startswith("latency") and name.rpartition("_")[2] in _MICROSECONDS
    }
