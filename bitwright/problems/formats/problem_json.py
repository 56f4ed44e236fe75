"""Problems as JSON, `bitwright-problem/1`."""

from __future__ import annotations

from typing import Any

from bitwright.problems.exact import Number
from bitwright.problems.formats.json_text import Place, naming
from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem, Choice, LayerChoices
from bitwright.problems.terms import Interaction, Peak
from bitwright.problems.ties import SIDES, Tie

FORMAT = "bitwright-problem/1"
_OPTIONAL = ("ties", "interactions", "peaks", "fixed_costs", "budgets")


def problem_from_document(document: Any, source: str) -> AllocationProblem:
    """Build the problem that a parsed document describes; `source` names the file in errors."""
    root = Place(document, source)
    root.kind(FORMAT)
    root.keys(("format", "name", "layers"), _OPTIONAL)
    root["format"].choice((FORMAT,))
    terms: dict[str, Any] = {}
    if "ties" in root:
        terms["ties"] = tuple(_tie(place) for place in root["ties"].items())
    if "interactions" in root:
        terms["interactions"] = tuple(_interaction(place) for place in root["interactions"].items())
    if "peaks" in root:
        terms["peaks"] = tuple(_peak(place) for place in root["peaks"].items())
    for name in ("fixed_costs", "budgets"):
        if name in root:
            terms[name] = _numbers(root[name])
    layers = [_layer(place) for place in root["layers"].items()]
    with naming(source):
        return AllocationProblem.from_layers(root["name"].text(), layers, **terms)


def _layer(place: Place) -> LayerChoices:
    place.keys(("name", "choices"), ("channels",))
    name = place["name"].text()
    channels = None
    if "channels" in place and place["channels"].value is not None:
        bounds = [p.integer() for p in place["channels"].items()]
        if len(bounds) != 2:
            place["channels"].fail(f"must be [start, stop], got {bounds}")
        channels = (bounds[0], bounds[1])
    choices = tuple(_choice(p) for p in place["choices"].items())
    return LayerChoices(name, choices, channels)


def _choice(place: Place) -> Choice:
    place.keys(("weight_bits", "activation_bits", "loss", "costs"), ("variant",))
    variant = place["variant"].text() if "variant" in place else ""
    weight, activation = place["weight_bits"].integer(), place["activation_bits"].integer()
    with naming(place.source, place.path):
        precision = Precision(weight, activation, variant)
    return Choice(precision, place["loss"].real(), _numbers(place["costs"]))


def _numbers(place: Place) -> dict[str, Number]:
    return {name: value.number() for name, value in place.fields()}


def _matrix(place: Place) -> list[list[Number]]:
    return [[cell.number() for cell in row.items()] for row in place.items()]


def _tie(place: Place) -> Tie:
    place.keys(("layers",), ("side",))
    side: Any = place["side"].choice(SIDES) if "side" in place else "all"
    with naming(place.source, place.path):
        return Tie(tuple(p.text() for p in place["layers"].items()), side)


def _interaction(place: Place) -> Interaction:
    place.keys(("layers", "loss"), ("costs",))
    layers: Any = tuple(p.text() for p in place["layers"].items())
    costs: Any = {n: _matrix(p) for n, p in place["costs"].fields()} if "costs" in place else {}
    loss: Any = _matrix(place["loss"])
    with naming(place.source, place.path):
        return Interaction(layers, loss, costs)


def _peak(place: Place) -> Peak:
    place.keys(("cost", "steps"))
    steps: Any = tuple(_numbers(step) for step in place["steps"].items())
    with naming(place.source, place.path):
        return Peak(place["cost"].text(), steps)


def problem_document(problem: AllocationProblem) -> dict[str, Any]:
    """The document that `problem_from_document` reads back to an equal problem."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "name": problem.name,
        "layers": [_layer_document(problem, name) for name in problem.layers],
    }
    if problem.ties:
        document["ties"] = [{"layers": list(t.layers), "side": t.side} for t in problem.ties]
    if problem.interactions:
        document["interactions"] = [
            {"layers": list(t.layers), "loss": t.loss, "costs": t.costs}
            for t in problem.interactions
        ]
    if problem.peaks:
        document["peaks"] = [{"cost": p.cost, "steps": p.steps} for p in problem.peaks]
    for name, values in (("fixed_costs", problem.fixed_costs), ("budgets", problem.budgets)):
        if values:
            document[name] = values
    return document


def _layer_document(problem: AllocationProblem, name: str) -> dict[str, Any]:
    document: dict[str, Any] = {"name": name}
    if name in problem.channels:
        document["channels"] = list(problem.channels[name])
    document["choices"] = [
        {
            "weight_bits": int(problem.weight_bits[j]),
            "activation_bits": int(problem.activation_bits[j]),
            "variant": problem.variants[j],
            "loss": float(problem.loss[j]),
            "costs": {n: c.value(j) for n, c in problem.costs.items()},
        }
        for j in problem.span(name)
    ]
    return document
