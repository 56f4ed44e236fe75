"""Stage `draw`: the pictures of a run, each as PNG and SVG, and the HTML report."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitwright.pipeline.scoring import table_from_document
from bitwright.pipeline.verifying import best_quality, spread_of
from bitwright.pipeline.work import Work
from bitwright.plots import MeasuredPoint, draw_confusion, draw_front, draw_significance, save
from bitwright.problems.formats import read_front, write_atomic
from bitwright.report import report_html


def draw(work: Work) -> list[str]:
    """Draw the Pareto front, the significance map and the confusion matrix; write `report.html`."""
    figures = {
        "pareto": draw_front(
            read_front(work.folder / "front.json"),
            *_measured(work.folder.read_json("verified.json")),
        ),
        "significance": draw_significance(
            {
                section.name: table_from_document(
                    work.folder.read_json(f"significance/{section.name}.json"), solved=False
                )
                for section in work.config.significance
            }
        ),
        "confusion": _confusion(work),
    }
    outputs = []
    for name, figure in figures.items():
        for suffix in ("png", "svg"):
            save(figure, work.folder / f"{name}.{suffix}")
            outputs.append(f"{name}.{suffix}")
    write_atomic(work.folder / "report.html", report_html(work.folder.path))
    return [*outputs, "report.html"]


def _measured(verified: Any) -> tuple[list[MeasuredPoint], str]:
    metric, cost = verified["main_metric"], verified["cost"]
    reading = verified["loss_reading"]
    points = [
        MeasuredPoint(
            name=entry["name"],
            cost=float(entry["costs"][cost]),
            measured_loss=_or_nan(entry["measured_loss"][reading]),
            quality_ptq=float(entry["ptq"]["metrics"][metric]),
            quality_qat=None if entry["qat"] is None else best_quality(entry, metric),
            dominated=entry["dominated"],
            uniform=entry["kind"] == "uniform",
            named=entry["kind"] == "solution",
            spread_qat=spread_of(entry, metric),
        )
        for entry in verified["points"]
    ]
    return points, metric


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _confusion(work: Work) -> Any:
    document = work.folder.read_json("critical.json")
    return draw_confusion(
        np.array(document["confusion"], dtype=np.int64), document["classes"], work.critical.pairs
    )
