"""Stage `draw`: the pictures of a run, each as PNG and SVG, and the HTML report."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitwright.layer_costs_plot import draw_layer_costs
from bitwright.pipeline.costing import bars_of, read_costs
from bitwright.pipeline.scoring import table_from_document
from bitwright.pipeline.verifying import VERIFIED
from bitwright.pipeline.work import Work
from bitwright.plots import (
    MeasuredPoint,
    draw_confusion,
    draw_front,
    draw_significance,
    draw_verified,
    save,
)
from bitwright.problems.formats import read_front, read_verified, write_atomic
from bitwright.problems.verified import Verified
from bitwright.report import report_html


def draw(work: Work) -> list[str]:
    """Draw front, verified points, significance, confusion and costs of layers; write `report.html`."""
    verified = read_verified(work.folder / VERIFIED)
    figures = {
        "pareto": draw_front(
            read_front(work.folder / "front.json"),
            _measured(verified),
            verified.main_metric,
        ),
        "verified": draw_verified(verified, work.config.name),
        "significance": draw_significance(
            {
                section.label: table_from_document(
                    work.folder.read_json(f"significance/{section.label}.json"), solved=False
                )
                for section in work.config.significance
            }
        ),
        "confusion": _confusion(work),
    }
    if bars := bars_of(read_costs(work.folder.path)):
        figures["costs"] = draw_layer_costs(work.config.name, bars)
    outputs = []
    for name, figure in figures.items():
        for suffix in ("png", "svg"):
            save(figure, work.folder / f"{name}.{suffix}")
            outputs.append(f"{name}.{suffix}")
    write_atomic(work.folder / "report.html", report_html(work.folder.path))
    return [*outputs, "report.html"]


def _measured(verified: Verified) -> list[MeasuredPoint]:
    metric = verified.main_metric
    return [
        MeasuredPoint(
            name=point.name,
            cost=float(point.costs[verified.cost]),
            measured_loss=_or_nan(point.measured_loss[verified.loss_reading]),
            quality_ptq=point.ptq.metrics[metric],
            quality_qat=None if point.qat is None else point.qat.metrics[metric].mean,
            dominated=point.dominated,
            uniform=point.kind == "uniform",
            named=point.kind == "solution",
            spread_qat=(point.qat and point.qat.metrics[metric].spread) or 0.0,
        )
        for point in verified.points
    ]


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _confusion(work: Work) -> Any:
    document = work.folder.read_json("critical.json")
    return draw_confusion(
        np.array(document["confusion"], dtype=np.int64), document["classes"], work.critical.pairs
    )
