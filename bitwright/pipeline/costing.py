"""What the choices of a run cost: the table of all cost models, and the file that keeps where figures come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitwright.cost_models import LayerCosts, tabulate
from bitwright.cost_models.tables import total_spread
from bitwright.layer_costs_plot import Bar, LayerBars
from bitwright.pipeline.work import Work
from bitwright.problems.costing import CostSource
from bitwright.problems.exact import Number, exact
from bitwright.problems.network import NetworkDescription
from bitwright.problems.precision import Precision

COSTS = "costs.json"
FORMAT = "bitwright-costs/1"


def tabulated(work: Work, network: NetworkDescription) -> LayerCosts:
    """All costs of the run's configuration for the candidates of a network."""
    models = [work.plugin("cost_models", section) for section in work.config.costs]
    return tabulate(network, work.candidates_in(network), models, work.device)


def write_costs(work: Work) -> list[str]:
    """Write `costs.json`: every figure with what it runs as, how sure it is, and the models' notes."""
    work.folder.write_json(COSTS, costs_document(work.network, tabulated(work, work.network)))
    return [COSTS]


def costs_document(network: NetworkDescription, table: LayerCosts) -> dict[str, Any]:
    """The document of a table: per cost the notes, the fixed cost, and each layer's by precision."""
    costs: dict[str, Any] = {
        name: {
            "notes": list(table.notes.get(name, ())),
            "fixed": _number(fixed),
            "layers": {
                layer: {
                    precision.label: _entry(of[name], _source(table, name, layer, precision))
                    for precision, of in by_precision.items()
                }
                for layer, by_precision in table.of.items()
            },
        }
        for name, fixed in table.fixed.items()
    }
    for peak in table.peaks:
        costs.setdefault(peak.cost, {"notes": list(table.notes.get(peak.cost, ())), "layers": {}})
    return {"format": FORMAT, "network": network.name, "costs": costs}


def read_costs(run: Path) -> Mapping[str, Any]:
    """The costs of a run folder by name; none for a folder that has no such file."""
    file = run / COSTS
    if not file.is_file():
        return {}
    costs: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))["costs"]
    return costs


def bars_of(costs: Mapping[str, Any]) -> dict[str, LayerBars]:
    """What of a document's costs belongs to layers, to be drawn."""
    return {
        name: {
            layer: {
                label: Bar(float(entry["cost"]), float(entry.get("spread", 0)))
                for label, entry in by_precision.items()
            }
            for layer, by_precision in cost["layers"].items()
        }
        for name, cost in costs.items()
        if cost["layers"]
    }


def spread_of(cost: Mapping[str, Any], labels: Mapping[str, str]) -> float | None:
    """How far a total may be off by the spreads of its figures, for the precision of each layer.

    The root of the sum of their squares (`total_spread`); None where that of a layer is not known.
    """
    entries = [of.get(labels.get(layer, ""), {}) for layer, of in cost["layers"].items()]
    return total_spread(entry.get("spread") for entry in entries) if entries else None


def _source(table: LayerCosts, cost: str, layer: str, precision: Precision) -> CostSource:
    return table.sources.get(cost, {}).get(layer, {}).get(precision, CostSource())


def _entry(cost: Number, source: CostSource) -> dict[str, Any]:
    """The cost, and of its source what says something."""
    entry: dict[str, Any] = {"cost": _number(cost)}
    if source.runs_as:
        entry["runs_as"] = source.runs_as
    if source.spread is not None:
        entry["spread"] = _number(source.spread)
    if source.interpolated:
        entry["interpolated"] = True
    if source.text:
        entry["text"] = source.text
    return entry


def _number(value: Number) -> Any:
    """A number as JSON writes it: an integer, or its exact decimal."""
    number = exact(value)
    return number.numerator if number.denominator == 1 else number
