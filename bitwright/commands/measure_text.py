"""What `bitwright measure` says: the document that `--json` prints, and the text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bitwright.measuring.results import HostMeasurement, NetworkTimes, OperationTimes
from bitwright.measuring.table import not_as_asked
from bitwright.problems.version import __version__
from bitwright.text import text_table, wrapped

FORMAT = "bitwright-measured/1"
_MOST_SHOWN = 8


def measured_document(
    measured: HostMeasurement, header: Mapping[str, str], unlisted: Sequence[str], out: str
) -> dict[str, Any]:
    """All that was measured (`bitwright-measured/1`); times in microseconds."""
    errors = measured.validation_errors
    left_out = dict(measured.left_out) | dict.fromkeys(unlisted, "it has no operation key")
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "file": out,
        "header": dict(header),
        "operations": [_operation(one) for one in measured.operations],
        "left_out": left_out,
        "not_in_integers": not_as_asked(measured.operations),
        "networks": [_network(one) for one in measured.networks],
    }
    if errors:
        document["mean_error"] = sum(errors) / len(errors)
        document["largest_error"] = max(errors)
    return document


def _operation(one: OperationTimes) -> dict[str, Any]:
    return {
        "operation": str(one.operation),
        "layers": list(one.operation.layers),
        "precision": one.precision.label,
        "runs_as": one.runs_as,
        **_times(one),
    }


def _network(one: NetworkTimes) -> dict[str, Any]:
    return {
        "name": one.name,
        "role": one.role,
        **_times(one),
        "predicted_us": one.predicted,
        "error": one.error,
        "bits": {layer: precision.label for layer, precision in one.configuration.items()},
    }


def _times(one: OperationTimes | NetworkTimes) -> dict[str, float]:
    times = one.times
    return {"latency_us": times.least, "median_us": times.median, "spread_us": times.spread}


def measured_text(document: Mapping[str, Any], width: int | None) -> str:
    """The operations, the networks with their predictions, and what should be known."""
    parts = ["\n".join(f"{key}: {value}" for key, value in document["header"].items())]
    parts.append(_operations_table(document["operations"], width))
    if document["networks"]:
        rows = [
            [
                *(n["name"], n["role"], _us(n["latency_us"]), _us(n["median_us"])),
                *(_us(n["predicted_us"]), f"{n['error']:.1%}"),
            ]
            for n in document["networks"]
        ]
        head = ["network", "role", "least us", "median us", "predicted us", "error"]
        parts.append(text_table(head, rows, width))
    lines = []
    if "mean_error" in document:
        lines.append(
            f"Mixed networks that were not fitted: predictions are {document['mean_error']:.1%} off on "
            f"average, {document['largest_error']:.1%} at most."
        )
    lines += _listed("Not computed in integers", document["not_in_integers"])
    left_out = [f"{name}: {why}" for name, why in document["left_out"].items()]
    lines += _listed("Left out, so that no figure stands for it", left_out)
    lines.append(f"Written: {document['file']}")
    return "\n\n".join([*parts, "\n".join(map(wrapped, lines))])


def _operations_table(operations: Sequence[Mapping[str, Any]], width: int | None) -> str:
    """One line per operation, with the least time at every precision and what the median adds."""
    precisions = list(dict.fromkeys(one["precision"] for one in operations))
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for one in operations:
        cells = rows.setdefault((one["operation"], *one["layers"]), {})
        cells[one["precision"]] = f"{_us(one['latency_us'])} +{_us(one['spread_us'])}"
    table = [
        [key[0], str(len(key) - 1), *(cells.get(p, "-") for p in precisions)]
        for key, cells in rows.items()
    ]
    return text_table(["operation", "layers", *(f"{p} us" for p in precisions)], table, width)


def _listed(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    shown = [f"  {item}" for item in items[:_MOST_SHOWN]]
    more = len(items) - len(shown)
    return [f"{title}:", *shown, *([f"  and {more} more"] if more else [])]


def points_text(document: Mapping[str, Any], width: int | None) -> str:
    """Every point of a run with what was measured and predicted."""
    costs = list(dict.fromkeys(c for p in document["points"] for c in p.get("predicted", {})))
    rows = [_point(point, costs) for point in document["points"]]
    head = ["point", "weights", "least us", "median us"]
    head += [text for cost in costs for text in (f"predicted {cost}", "error")]
    table = text_table([*head, "budget us", "keeps it"], rows, width)
    said = f"{document['runtime']}, {document['threads']} thread(s), batch {document['batch']}"
    overhead = f"an empty run takes {_us(document['overhead_us'])} us, which is in all of them"
    lines = [f"Measured end to end: {said}; {overhead}."]
    if document["in_integers"] and any("predicted" in point for point in document["points"]):
        lines.append(
            "Exported with 8-bit outputs and codes of 8 bits or more (--integer-outputs --widen), so that "
            "narrow bits run as int8; a table or device under which they run as another type predicts "
            "another network."
        )
    return "\n\n".join([table, "\n".join(map(wrapped, lines))])


def _point(point: Mapping[str, Any], costs: Sequence[str]) -> list[str]:
    cells = [point["name"], point.get("weights", "float")]
    cells += [_us(point["latency_us"]), _us(point["median_us"])]
    for cost in costs:
        known = point.get("predicted", {}).get(cost)
        cells += ["-", "-"] if known is None else [_us(known), f"{point['error'][cost]:+.1%}"]
    budgets = point.get("budgets_us", {})
    cells.append(_us(min(budgets.values())) if budgets else "-")
    return [*cells, {True: "yes", False: "no"}.get(point.get("keeps"), "-")]  # type: ignore[arg-type]


def _us(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
