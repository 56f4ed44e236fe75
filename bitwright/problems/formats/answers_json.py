"""Solutions (`bitwright-solution/1`), fronts (`bitwright-front/1`) and bit tables as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.exact import plain
from bitwright.problems.formats.json_text import Place, naming
from bitwright.problems.front import ParetoFront
from bitwright.problems.precision import Precision
from bitwright.problems.solution import Solution, Status

SOLUTION_FORMAT = "bitwright-solution/1"
FRONT_FORMAT = "bitwright-front/1"


def bits_document(configuration: Mapping[str, Precision]) -> dict[str, Any]:
    """The bits of every layer."""
    return {
        name: {
            "weight_bits": p.weight_bits,
            "activation_bits": p.activation_bits,
            "variant": p.variant,
        }
        for name, p in configuration.items()
    }


def bits_from_place(place: Place) -> BitConfiguration:
    """Read the bits of every layer."""
    items = []
    for name, entry in place.fields():
        entry.keys(("weight_bits", "activation_bits"), ("variant",))
        variant = entry["variant"].text() if "variant" in entry else ""
        with naming(entry.source, entry.path):
            precision = Precision(
                entry["weight_bits"].integer(), entry["activation_bits"].integer(), variant
            )
        items.append((name, precision))
    with naming(place.source, place.path):
        return BitConfiguration(items)


def solution_document(solution: Solution) -> dict[str, Any]:
    """The document of a solution; figures that do not exist are null, and a device need not be there."""
    placed = {"device": solution.device, "runs_as": dict(solution.runs_as)}
    bits = None if solution.configuration is None else bits_document(solution.configuration)
    return {
        "format": SOLUTION_FORMAT,
        "problem": solution.problem,
        "solver": solution.solver,
        "status": str(solution.status),
        "loss": _finite(solution.loss),
        "lower_bound": _finite(solution.lower_bound),
        "gap": _finite(solution.gap),
        "relative_gap": _finite(solution.relative_gap),
        "costs": dict(solution.costs),
        "budgets": dict(solution.budgets),
        "slack": dict(solution.slack),
        "bits": bits,
        "explanation": solution.explanation,
        "seconds": round(solution.seconds, 6),
        "seed": solution.seed,
        "version": solution.version,
        **(placed if solution.device else {}),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def solution_from_document(document: Any, source: str) -> Solution:
    """Read a solution; raises `InputError` naming file and place."""
    root = Place(document, source)
    root.kind(SOLUTION_FORMAT)
    root.keys(
        ("format", "problem", "solver", "status", "loss", "lower_bound", "costs", "bits"),
        ("gap", "relative_gap", "budgets", "slack", "explanation", "seconds", "seed", "version",
         "device", "runs_as"),
    )  # fmt: skip
    root["format"].choice((SOLUTION_FORMAT,))
    bits = root["bits"]
    loss, bound = root["loss"], root["lower_bound"]
    for name in ("gap", "relative_gap"):  # these follow from loss and lower bound
        if name in root and root[name].value is not None:
            root[name].real()
    explanation = root["explanation"].value if "explanation" in root else None
    with naming(source):
        return Solution(
            problem=root["problem"].text(),
            solver=root["solver"].text(),
            status=Status(root["status"].choice([s.value for s in Status])),
            configuration=None if bits.value is None else bits_from_place(bits),
            loss=math.inf if loss.value is None else loss.real(),
            lower_bound=-math.inf if bound.value is None else bound.real(),
            **{n: _figures(root[n]) for n in ("costs", "budgets", "slack") if n in root},
            explanation=None if explanation is None else root["explanation"].text(),
            seconds=root["seconds"].real() if "seconds" in root else 0.0,
            seed=root["seed"].integer() if "seed" in root else 0,
            version=root["version"].text() if "version" in root else "",
            device=root["device"].text() if "device" in root else "",
            runs_as=_words(root["runs_as"]) if "runs_as" in root else {},
        )


def _figures(place: Place) -> dict[str, int | float]:
    return {name: plain(value.exact()) for name, value in place.fields()}


def _words(place: Place) -> dict[str, str]:
    return {name: value.text() for name, value in place.fields()}


def front_document(front: ParetoFront) -> dict[str, Any]:
    """The document of a front; points carry `bits` only where their configuration is kept."""
    points = []
    for point in front:
        entry: dict[str, Any] = {"costs": dict(point.costs), "loss": point.loss}
        if point.configuration is not None:
            entry["bits"] = bits_document(point.configuration)
        if point.runs_as:
            entry["runs_as"] = dict(point.runs_as)
        points.append(entry)
    return {
        "format": FRONT_FORMAT,
        "problem": front.problem,
        "costs": list(front.costs),
        "solver": front.solver,
        "exact": front.exact,
        "epsilon": front.epsilon,
        **({"device": front.device} if front.device else {}),
        "points": points,
    }


def front_from_document(document: Any, source: str) -> ParetoFront:
    """Read a front; raises `InputError` naming file and place."""
    root = Place(document, source)
    root.kind(FRONT_FORMAT)
    root.keys(("format", "problem", "costs", "solver", "exact", "epsilon", "points"), ("device",))
    root["format"].choice((FRONT_FORMAT,))
    names = tuple(p.text() for p in root["costs"].items())
    values, losses, configurations, runs_as = [], [], [], []
    for place in root["points"].items():
        place.keys(("costs", "loss"), ("bits", "runs_as"))
        place["costs"].keys(names)
        figures = _figures(place["costs"])
        values.append([figures[n] for n in names])
        losses.append(place["loss"].real())
        configurations.append(bits_from_place(place["bits"]) if "bits" in place else None)
        runs_as.append(_words(place["runs_as"]) if "runs_as" in place else {})
    epsilon = root["epsilon"]
    with naming(source):
        return ParetoFront(
            problem=root["problem"].text(),
            solver=root["solver"].text(),
            costs=names,
            cost_values=np.array(values).reshape(len(losses), len(names)),
            losses=np.array(losses),
            exact=root["exact"].boolean(),
            epsilon=None if epsilon.value is None else epsilon.real(),
            configurations=tuple(configurations)
            if any(c is not None for c in configurations)
            else (),
            device=root["device"].text() if "device" in root else "",
            runs_as=tuple(runs_as) if any(runs_as) else (),
        )
