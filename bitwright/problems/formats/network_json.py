"""Network descriptions as JSON, `bitwright-network/1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitwright.problems.formats.json_text import Place, naming
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.precision import Precision
from bitwright.problems.ties import SIDES, Tie

FORMAT = "bitwright-network/1"

_SIZES = ("bias_parameters", "weight_channels")


def network_document(
    network: NetworkDescription, costs: Mapping[str, Mapping[str, int | float]] | None = None
) -> dict[str, Any]:
    """The document of a network; `costs` maps a uniform precision's label to its total costs."""
    return {
        "format": FORMAT,
        "name": network.name,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "parameters": layer.parameters,
                "macs": layer.macs,
                "input_shape": list(layer.input_shape),
                "output_shape": list(layer.output_shape),
                "fused": list(layer.fused),
                "pinned": None if layer.pinned is None else layer.pinned.label,
                **{name: value for name in _SIZES if (value := getattr(layer, name))},
            }
            for layer in network
        ],
        "ties": [
            {"layers": list(t.layers), "side": t.side, "reason": t.reason} for t in network.ties
        ],
        **({"other_bytes": network.other_bytes} if network.other_bytes else {}),
        "totals": {"parameters": network.parameters, "macs": network.macs},
        "costs": {label: dict(totals) for label, totals in (costs or {}).items()},
    }


def network_from_document(document: Any, source: str) -> NetworkDescription:
    """Read a network description; totals and costs follow from the layers and are not kept."""
    root = Place(document, source)
    root.keys(("format", "name", "layers"), ("ties", "other_bytes", "totals", "costs"))
    root["format"].choice((FORMAT,))
    _check_totals(root)
    ties = root["ties"].items() if "ties" in root else []
    with naming(source):
        return NetworkDescription(
            root["name"].text(),
            tuple(_layer(place) for place in root["layers"].items()),
            tuple(_tie(place) for place in ties),
            root["other_bytes"].integer() if "other_bytes" in root else 0,
        )


def _check_totals(root: Place) -> None:
    if "totals" in root:
        for _, total in root["totals"].fields():
            total.integer()
    if "costs" in root:
        for _, totals in root["costs"].fields():
            for _, total in totals.fields():
                total.exact()


def _layer(place: Place) -> LayerDescription:
    place.keys(
        ("name", "kind", "parameters", "macs", "input_shape", "output_shape"),
        ("fused", "pinned", *_SIZES),
    )
    pinned = place["pinned"].value if "pinned" in place else None
    with naming(place.source, place.path):
        return LayerDescription(
            name=place["name"].text(),
            kind=place["kind"].text(),
            parameters=place["parameters"].integer(),
            macs=place["macs"].integer(),
            input_shape=tuple(p.integer() for p in place["input_shape"].items()),
            output_shape=tuple(p.integer() for p in place["output_shape"].items()),
            fused=tuple(p.text() for p in place["fused"].items()) if "fused" in place else (),
            pinned=None if pinned is None else Precision.parse(pinned),
            **{name: place[name].integer() for name in _SIZES if name in place},
        )


def _tie(place: Place) -> Tie:
    place.keys(("layers", "side"), ("reason",))
    side: Any = place["side"].choice(SIDES)
    reason = place["reason"].text() if "reason" in place else ""
    with naming(place.source, place.path):
        return Tie(tuple(p.text() for p in place["layers"].items()), side, reason)
