"""Pictures of measured times: predicted against measured networks, and the points of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bitwright.measuring.results import HostMeasurement
from bitwright.plot_base import BLUE, GREEN, GREY, ORANGE, label

_LOOKS = {
    "uniform": (GREEN, "s", "uniform (fitted)"),
    "calibration": (GREY, "o", "mixed (fitted)"),
    "validation": (BLUE, "D", "mixed, unseen"),
}


def draw_prediction(measured: HostMeasurement, header: Mapping[str, str]) -> Figure:
    """Predicted against measured end-to-end times, each bar from the least time to the median."""
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    axes = figure.add_subplot()
    for role, (colour, marker, text) in _LOOKS.items():
        shown = [n for n in measured.networks if n.role == role and n.predicted is not None]
        least = np.array([n.times.least for n in shown]) / 1e3
        spread = np.array([n.times.spread for n in shown]) / 1e3
        predicted = np.array([n.predicted or 0.0 for n in shown]) / 1e3
        axes.errorbar(
            least, predicted, xerr=[np.zeros_like(spread), spread], label=text, color=colour,
            marker=marker, linestyle="none", markersize=5, elinewidth=1, alpha=0.85,
        )  # fmt: skip
    times = [us for n in measured.networks for us in (n.times.least, n.predicted or 0.0)]
    low, high = min(times) / 1e3 * 0.95, max(times) / 1e3 * 1.05
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle="--")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set_xlabel("measured end to end (ms); bars end at the median")
    axes.set_ylabel("predicted (ms)")
    errors = measured.validation_errors
    title = f"{label(header['network'], 30)}, {header['runtime']}, {header['device']}"
    if errors:
        mean, most = sum(errors) / len(errors), max(errors)
        title += f"\nerror of {len(errors)} unseen: {mean:.1%} on average, {most:.1%} at most"
    axes.set_title(title, fontsize="medium", parse_math=False)
    axes.legend(frameon=False, loc="upper left")
    return figure


def draw_points(document: Mapping[str, Any]) -> Figure:
    """Measured times of a run's points as bars, with predictions and budgets marked on them."""
    points = document["points"]
    figure = Figure(figsize=(7.2, 1.6 + 0.45 * len(points)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(points))[::-1]
    least = np.array([point["latency_us"] for point in points])
    spread = np.array([point["spread_us"] for point in points])
    axes.barh(places, least, color=BLUE, height=0.6, label="measured (the least; to the median)")
    axes.errorbar(least, places, xerr=[np.zeros_like(spread), spread], color=GREY, linestyle="none")
    for key, marker, colour, text in (
        ("predicted", "D", ORANGE, "predicted"),
        ("budgets_us", "|", "black", "budget"),
    ):
        marks = [
            (us, place)
            for place, point in zip(places, points, strict=True)
            for us in point.get(key, {}).values()
        ]
        if marks:
            across, up = zip(*marks, strict=True)
            size = 140 if key == "budgets_us" else 30
            axes.scatter(across, up, marker=marker, color=colour, s=size, label=text, zorder=3)
    axes.set_yticks(places, [label(point["name"], 30) for point in points], parse_math=False)
    axes.set_xlabel("latency (µs)")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    title = f"{label(document['network'], 30)}: {document['runtime']}, {document['threads']} thread(s), batch {document['batch']}"
    axes.set_title(title, fontsize="medium", parse_math=False)
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    return figure
