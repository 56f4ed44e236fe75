"""Stages `mine` and `score`: the critical classes, and the significance of every component."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from bitwright.pipeline.evaluating import evaluate
from bitwright.pipeline.folder import fingerprint
from bitwright.pipeline.work import Work
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.formats import write_atomic
from bitwright.problems.measurements import Quality
from bitwright.problems.precision import Precision
from bitwright.problems.protocols import ScoringContext
from bitwright.problems.scores import CriticalClasses, SignificanceTable
from bitwright.problems.version import __version__
from bitwright.quantization import apply_configuration
from bitwright.significance import clean_up, describe, given_classes, most_confused, table_csv


def mine(work: Work) -> list[str]:
    """Find the classes that the float network confuses on the mining split, or take the given ones."""
    quality = evaluate(work.float_model(), work.task, "mine").quality
    critical = _critical(work, quality)
    document = {
        "format": "bitwright-critical/1",
        "version": __version__,
        "critical": asdict(critical),
        "sentence": describe(critical),
        "split": "mine",
        "classes": list(quality.classes),
        "metrics": dict(quality.metrics),
        "confusion": quality.confusion.tolist(),
    }
    work.folder.write_json("critical.json", document)
    return ["critical.json"]


def _critical(work: Work, quality: Quality) -> CriticalClasses:
    section = work.config.critical
    if section.classes is not None:
        return given_classes(section.classes, work.task.classes)
    return most_confused(quality, threshold=section.threshold, top=section.top_k)


def score(work: Work) -> list[str]:
    """Score every component at every candidate precision by every measure of the configuration.

    Losses measured with other settings are kept beside, in `significance-DIGEST/`, and taken up
    again when those settings come back.
    """
    _bring_back(work)
    outputs = []
    for section in work.config.significance:
        measure = work.plugin("significance", section)
        with work.reporter.bar(f"scoring ({section.label})") as bar:
            table = measure.measure(
                _context(work, lambda label, done, total: bar.update(done, total, label))
            )
        name = f"significance/{section.label}.json"
        work.folder.write_json(name, table_document(table, clean=work.config.clean_up))
        write_atomic(work.folder / f"significance/{section.label}.csv", table_csv(table))
        outputs += [name, f"significance/{section.label}.csv"]
    return outputs


def _bring_back(work: Work) -> None:
    """Put the folder of these settings at `significance/`, and another that stands there aside."""
    settings = work.config.identity()
    depends = ("calibration", "precisions", "variants", "pins", "seed", "threads")
    offered = None
    if work.device is not None:  # which decides what is measured, whatever its name or file
        offered = {name: [p.label for p in forms] for name, forms in work.candidates.items()}
    identity = fingerprint(
        weights=work.weights,
        data=work.data,
        offered=offered,
        **{name: settings[name] for name in depends},
    )
    folder, marker = work.folder / "significance", "significance/made_with.json"
    if (work.folder / marker).exists():
        there = work.folder.read_json(marker)["settings"]
        if there == identity:
            return
        folder.rename(work.folder / f"significance-{there[:12]}")
    elif folder.exists():  # begun by a run that was killed at once, or not by us: kept aside
        folder.rename(work.folder / f"significance-unknown-{time.time_ns()}")
    aside = work.folder / f"significance-{identity[:12]}"
    if aside.exists():
        aside.rename(folder)
    else:
        work.folder.write_json(marker, {"settings": identity})


def _context(work: Work, progress: Any) -> ScoringContext:
    model, calibration = work.float_model(), work.config.calibration

    def quantize(configuration: BitConfiguration) -> Any:
        return apply_configuration(model, configuration, work.calibration)

    return ScoringContext(
        model=model,
        task=work.task,
        network=work.network,
        candidates=work.candidates,
        critical=work.critical,
        quantize=quantize,
        quantization=json.dumps(calibration.model_dump(), sort_keys=True),
        folder=work.folder / "significance",
        progress=progress,
        seed=work.config.seed,
    )


def table_document(table: SignificanceTable, *, clean: bool) -> dict[str, Any]:
    """A significance table as measured and, if wanted, as cleaned for solving."""
    cleaned, changed = clean_up(table.scores, table.precisions)
    errors = table.standard_errors
    return {
        "format": "bitwright-scores/1",
        "measure": table.measure,
        "components": list(table.components),
        "precisions": [p.label for p in table.precisions],
        "scores": _rows(table.scores),
        "standard_errors": None if errors is None else _rows(errors),
        "solved_scores": _rows(cleaned if clean else table.scores),
        "cleaned_cells": int(changed.sum()) if clean else 0,
        # Seconds stand in index.json: the same measurement gives the same file here.
        "details": {name: v for name, v in table.details.items() if name != "seconds"},
    }


def table_from_document(document: Any, *, solved: bool) -> SignificanceTable:
    """The table of a document that `table_document` made; `solved` takes the scores for solving."""
    key = "solved_scores" if solved else "scores"
    errors = document["standard_errors"]
    return SignificanceTable(
        measure=document["measure"],
        components=tuple(document["components"]),
        precisions=tuple(Precision.parse(label) for label in document["precisions"]),
        scores=_array(document[key]),
        standard_errors=None if errors is None else _array(errors),
        details=document["details"],
    )


def _rows(values: Any) -> list[list[float | None]]:
    return [[None if np.isnan(v) else float(v) for v in row] for row in np.asarray(values)]


def _array(rows: list[list[float | None]]) -> Any:
    return np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=np.float64)
