"""The summary of a finished run, for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitwright.pipeline.costing import read_costs, spread_of
from bitwright.problems.formats import read_verified
from bitwright.problems.precision import Precision
from bitwright.problems.verified import MeasuredQuality, OverSeeds, Verified
from bitwright.text import counted, figure, text_table, wrapped

_NEXT_TO_CHANCE = 1.5
_PICTURES = ("pareto", "verified", "significance", "confusion", "costs")


def summary_text(run: Path) -> str:
    """What was found, in a screenful: the critical classes, the solutions, and what was measured."""
    critical, network = (_json(run / f"{n}.json") for n in ("critical", "network"))
    verified = read_verified(run / "verified.json")
    base, metric = verified.float_quality, verified.main_metric
    parts = [
        f"{network['name']}: {len(network['layers'])} layers, {network['totals']['parameters']:,} weights; "
        f"float {metric} {base.metrics[metric]:.4f}, critical classes {_figure(base.critical)}",
        *_warnings(base, metric),
        _sentence(critical["sentence"]),
        _solutions(run),
        verified_text(verified),
        _pictures(run),
    ]
    return "\n\n".join(parts)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _solutions(run: Path) -> str:
    rows, notes, costs = [], [], read_costs(run)
    for path in sorted((run / "solutions").glob("*.json")):
        solution = _json(path)
        used = ", ".join(
            f"{n} {figure(solution['costs'][n])}{_spread(costs, n, solution)} of {figure(b)}"
            if n in solution["costs"]
            else f"{n} <= {figure(b)}"
            for n, b in solution["budgets"].items()
        )
        loss = "-" if solution["loss"] is None else figure(solution["loss"])
        gap = "-" if solution["gap"] is None else f"{solution['gap']:.2g}"
        rows.append([path.stem, solution["status"], loss, gap, used])
        if solution.get("runs_as"):
            layers = counted(solution["runs_as"].values())
            notes.append(f"{path.stem}: layers that run on {solution['device']}: {layers}")
        if solution["explanation"]:
            notes.append(f"{path.stem}: {solution['explanation']}")
    table = text_table(["solution", "status", "loss", "gap", "budgets"], rows)
    notes += [wrapped(f"{name}: {said}") for name, cost in costs.items() for said in cost["notes"]]
    return "\n".join([table, *notes])


def _spread(costs: Mapping[str, Any], name: str, solution: Mapping[str, Any]) -> str:
    """How far the cost of a solution may be off by what its figures were measured with."""
    labels = {
        layer: Precision(b["weight_bits"], b["activation_bits"], b["variant"]).label
        for layer, b in (solution.get("bits") or {}).items()
    }
    spread = spread_of(costs[name], labels) if name in costs else None
    return "" if spread is None else f" ± {spread:.3g}"


def verified_text(verified: Verified) -> str:
    """Costs and losses of every point, and its quality after PTQ and QAT on the test split."""
    rows, metric = [], verified.main_metric
    for p in verified.points:
        qat = p.qat
        rows.append([
            p.name, figure(p.costs[verified.cost]), _figure(p.predicted_loss),
            _figure(p.measured_loss[verified.loss_reading]), _figure(p.ptq.metrics[metric]),
            _over_seeds(qat.metrics[metric] if qat else None), _figure(p.ptq.critical),
            _over_seeds(qat.critical if qat else None), "yes" if p.dominated else "",
        ])  # fmt: skip
    head = [
        "verified",
        verified.cost,
        "predicted",
        "measured",
        f"{metric} PTQ",
        "QAT",
        "critical PTQ",
        "QAT",
        "dominated",
    ]
    seeds = f", mean of {len(verified.seeds)} seeds ± spread" if len(verified.seeds) > 1 else ""
    note = (
        f"predicted, measured: growth of the loss; PTQ, QAT: quality on the {verified.quality_split} "
        f"split after quantization\nand after training with it{seeds}; dominated: another row costs "
        "no more in anything and is as accurate"
    )
    return f"{text_table(head, rows)}\n{note}"


def _over_seeds(measured: OverSeeds | None) -> str:
    if measured is None:
        return "-"
    spread = "" if measured.spread is None else f" ± {measured.spread:.4f}"
    return f"{_figure(measured.mean)}{spread}"


def _warnings(quality: MeasuredQuality, metric: str) -> list[str]:
    """What makes a reader doubt the rest: a float network that has learned next to nothing."""
    chance = 1 / len(quality.per_class)
    if metric == "accuracy" and quality.metrics[metric] < _NEXT_TO_CHANCE * chance:
        return [
            f"Warning: the float network is little better than chance ({chance:.2f}); nothing below "
            "means much. Train it longer, or with smaller batches."
        ]
    return []


def _pictures(run: Path) -> str:
    drawn = [n for n in _PICTURES if (run / f"{n}.png").is_file()]
    names = ", ".join(f"{n}.png" for n in drawn)
    return f"Pictures: {run}/ {names} (and .svg)\nReport: {run / 'report.html'}"
