"""Network descriptions as JSON, `bitwright-network/1`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from bitwright.problems.formats.json_text import Place, naming
from bitwright.problems.network import (
    ActivationTensor,
    FunctionCall,
    LayerDescription,
    Link,
    NetworkDescription,
)
from bitwright.problems.precision import Precision
from bitwright.problems.ties import SIDES, Tie

FORMAT = "bitwright-network/1"
_NUMBERS = ("in_channels", "out_channels", "groups")
_LISTS = ("kernel", "stride")
_SIZES = ("bias_parameters", "weight_channels", "folded_channels")


def network_document(
    network: NetworkDescription, costs: Mapping[str, Mapping[str, int | float]] | None = None
) -> dict[str, Any]:
    """The document of a network; `costs` maps a uniform precision's label to its total costs.

    Links and tensors name layers by their place in the list, for there are many.
    """
    other: dict[str, Any] = {"other_bytes": network.other_bytes} if network.other_bytes else {}
    place = {name: i for i, name in enumerate(network.names)}
    if network.links:
        other["links"] = [[place[x.source], place[x.target], x.elements] for x in network.links]
    if network.tensors:
        other["tensors"] = [
            {
                "elements": tensor.elements,
                "makers": [place[name] for name in tensor.makers],
                "readers": [place[name] for name in tensor.readers],
                "steps": list(tensor.steps),
            }
            for tensor in network.tensors
        ]
    return {
        "format": FORMAT,
        "name": network.name,
        "layers": [_layer_document(layer) for layer in network],
        "ties": [
            {"layers": list(t.layers), "side": t.side, "reason": t.reason} for t in network.ties
        ],
        **other,
        "totals": {"parameters": network.parameters, "macs": network.macs},
        "costs": {label: dict(totals) for label, totals in (costs or {}).items()},
    }


def _layer_document(layer: LayerDescription) -> dict[str, Any]:
    """The keys of the format, and of the others those that say something."""
    document: dict[str, Any] = {
        "name": layer.name,
        "kind": layer.kind,
        "parameters": layer.parameters,
        "macs": layer.macs,
        "input_shape": list(layer.input_shape),
        "output_shape": list(layer.output_shape),
        "fused": list(layer.fused),
        "pinned": None if layer.pinned is None else layer.pinned.label,
    }
    if layer.least is not None:
        document["least"] = layer.least.label
    if not layer.quantizable:
        document["quantizable"] = False
    if layer.activation:
        document["activation"] = layer.activation
    numbers = {name: getattr(layer, name) for name in _NUMBERS}
    document |= {name: value for name, value in numbers.items() if value is not None}
    lists = {name: list(getattr(layer, name)) for name in _LISTS}
    sizes = {name: getattr(layer, name) for name in _SIZES}
    document |= {name: value for name, value in (lists | sizes).items() if value}
    if layer.function is not None:
        known = asdict(layer.function)
        said = {key: value for key, value in known.items() if value or key == "module"}
        document["function"] = said
    return document


def network_from_document(document: Any, source: str) -> NetworkDescription:
    """Read a network description; totals and costs follow from the layers and are not kept."""
    root = Place(document, source)
    root.kind(FORMAT)
    root.keys(
        ("format", "name", "layers"),
        ("ties", "other_bytes", "links", "tensors", "totals", "costs", "layer_costs", "notes"),
    )
    root["format"].choice((FORMAT,))
    _check_totals(root)
    with naming(source):
        network = NetworkDescription(
            root["name"].text(),
            tuple(_layer(place) for place in root["layers"].items()),
            tuple(_tie(place) for place in _optional(root, "ties")),
            root["other_bytes"].integer() if "other_bytes" in root else 0,
        )
        names = network.names
        links = tuple(_link(place, names) for place in _optional(root, "links"))
        tensors = tuple(_tensor(place, names) for place in _optional(root, "tensors"))
        return replace(network, links=links, tensors=tensors)


def _optional(root: Place, key: str) -> list[Place]:
    return root[key].items() if key in root else []


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
        (
            *("fused", "pinned", "least", "quantizable", "function", "activation"),
            *(*_NUMBERS, *_LISTS, *_SIZES),
        ),
    )
    pinned = place["pinned"].value if "pinned" in place else None
    least = place["least"].value if "least" in place else None
    numbers: dict[str, Any] = {
        name: place[name].integer() for name in (*_NUMBERS, *_SIZES) if name in place
    }
    lists: dict[str, Any] = {
        name: tuple(p.integer() for p in place[name].items()) for name in _LISTS if name in place
    }
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
            least=None if least is None else Precision.parse(least),
            quantizable=place["quantizable"].boolean() if "quantizable" in place else True,
            function=_function(place["function"]) if "function" in place else None,
            activation=place["activation"].text() if "activation" in place else "",
            **numbers,
            **lists,
        )


def _function(place: Place) -> FunctionCall:
    place.keys(("module",), ("parameter", "channel_axis", "function", "number"))
    known: dict[str, Any] = {
        key: place[key].text() for key in ("parameter", "function") if key in place
    }
    known |= {key: place[key].integer() for key in ("channel_axis", "number") if key in place}
    with naming(place.source, place.path):
        return FunctionCall(place["module"].text(), **known)


def _tie(place: Place) -> Tie:
    place.keys(("layers", "side"), ("reason",))
    side: Any = place["side"].choice(SIDES)
    reason = place["reason"].text() if "reason" in place else ""
    with naming(place.source, place.path):
        return Tie(tuple(p.text() for p in place["layers"].items()), side, reason)


def _link(place: Place, names: Sequence[str]) -> Link:
    numbers = place.items()
    if len(numbers) != 3:
        place.fail(f"a link is two layers and the elements between them, got {len(numbers)} values")
    source, target, elements = numbers
    with naming(place.source, place.path):
        return Link(_named(source, names), _named(target, names), elements.integer())


def _tensor(place: Place, names: Sequence[str]) -> ActivationTensor:
    place.keys(("elements", "makers", "readers", "steps"))
    steps: Any = tuple(step.integer() for step in place["steps"].items())
    with naming(place.source, place.path):
        return ActivationTensor(
            place["elements"].integer(),
            tuple(_named(layer, names) for layer in place["makers"].items()),
            tuple(_named(layer, names) for layer in place["readers"].items()),
            steps,
        )


def _named(place: Place, names: Sequence[str]) -> str:
    """The name of a layer that is given by its place in the list of layers."""
    number = place.integer()
    if not 0 <= number < len(names):
        place.fail(f"layers are numbered from 0 to {len(names) - 1}, got {number}")
    return names[number]
