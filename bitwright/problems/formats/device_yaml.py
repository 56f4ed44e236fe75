"""What a device can do, as YAML: `bitwright-device/1`.

Every scalar is taken as it is written, so that `6e9` is a number and `no` a word. `w1..8a2..4` in
`runs_as` stands for all precisions of 1 to 8 weight bits and 2 to 4 activation bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, get_args

from bitwright.problems.device import ComputeType, Device, Figure, Memory, Scaling, Support
from bitwright.problems.errors import InputError
from bitwright.problems.exact import exact
from bitwright.problems.formats.json_text import Place, decimal_text, naming, read_text
from bitwright.problems.formats.yaml_text import parse_yaml
from bitwright.problems.precision import Precision

DEVICE_FORMAT = "bitwright-device/1"
_LARGEST_BYTES = 10**6
_RANGES = re.compile(r"w(\d{1,2})(?:\.\.(\d{1,2}))?a(\d{1,2})(?:\.\.(\d{1,2}))?(-.+)?")
_COMPUTE_FIGURES = ("macs_per_second", "energy_pj_per_mac")
_MEMORY_FIGURES = ("size_bytes", "bytes_per_second", "energy_pj_per_byte")


def read_device(path: str | Path) -> Device:
    """Read a device file; raises `InputError` naming file, place, rule, value and nearest name."""
    return device_from_yaml(read_text(path, largest_bytes=_LARGEST_BYTES), str(path))


def device_from_yaml(text: str, source: str) -> Device:
    """Read the text of a device file; `source` names it in errors."""
    with naming(source):
        root = Place(parse_yaml(text, plain_text=True), source)
    root.kind(DEVICE_FORMAT)
    root.keys(
        ("format", "name", "title", "compute_types", "support"),
        ("memories", "layer_overhead_us", "notes"),
    )
    root["format"].choice((DEVICE_FORMAT,))
    compute_types = [_compute_type(place) for place in root["compute_types"].items()]
    support = [_support(place) for place in root["support"].items()]
    memories = [_memory(p) for p in root["memories"].items()] if "memories" in root else []
    with naming(source):
        return Device(
            name=root["name"].text(),
            title=root["title"].text(),
            compute_types=tuple(compute_types),
            support=tuple(support),
            memories=tuple(memories),
            layer_overhead_us=_figure(root, "layer_overhead_us"),
            notes=tuple(p.text() for p in root["notes"].items()) if "notes" in root else (),
        )


def _compute_type(place: Place) -> ComputeType:
    place.keys(("name",), ("precision", "scaling", *_COMPUTE_FIGURES))
    precision = None
    if "precision" in place:
        with naming(place.source, place["precision"].path):
            precision = Precision.parse(place["precision"].text())
    known: Sequence[Scaling] = get_args(Scaling)
    scaling = place["scaling"].choice(known) if "scaling" in place else "fixed"
    figures = {name: _figure(place, name) for name in _COMPUTE_FIGURES}
    with naming(place.source, place.path):
        return ComputeType(place["name"].text(), precision, _as_scaling(scaling), **figures)


def _as_scaling(word: str) -> Scaling:
    return next(scaling for scaling in get_args(Scaling) if scaling == word)


def _memory(place: Place) -> Memory:
    place.keys(("name",), _MEMORY_FIGURES)
    return Memory(place["name"].text(), **{name: _figure(place, name) for name in _MEMORY_FIGURES})


def _support(place: Place) -> Support:
    place.keys(("runs_as",), ("kinds", "depthwise", "source"))
    runs_as: dict[Precision, str] = {}
    for label, name in place["runs_as"].fields():
        with naming(place.source, place["runs_as"].path):
            for precision in _precisions(label):
                if precision in runs_as:
                    raise InputError(f"{precision} is given twice, the second time by {label!r}")
                runs_as[precision] = name.text()
    depthwise = None
    if "depthwise" in place:
        depthwise = place["depthwise"].choice(("true", "false")) == "true"
    kinds = tuple(p.text() for p in place["kinds"].items()) if "kinds" in place else ()
    if "kinds" in place and not kinds:
        place["kinds"].fail("must name one kind or more; without the key, all others are meant")
    with naming(place.source, place.path):
        return Support(
            runs_as, kinds, depthwise, place["source"].text() if "source" in place else ""
        )


def _precisions(label: str) -> Iterator[Precision]:
    """The precisions of a label, in which `1..8` may stand for bits."""
    match = _RANGES.fullmatch(label)
    if match is None:
        raise InputError(f"a precision is written like 'w4a8' or 'w1..8a1..8', got {label!r}")
    weight, last_weight, activation, last_activation, variant = match.groups()
    for bits in (weight, last_weight, activation, last_activation):
        if bits is not None:
            Precision(int(bits), int(bits))  # refuses what is no number of bits
    weights = range(int(weight), int(last_weight or weight) + 1)
    activations = range(int(activation), int(last_activation or activation) + 1)
    if not weights or not activations:
        raise InputError(f"bits go from the fewest to the most, got {label!r}")
    for weight_bits in weights:
        for activation_bits in activations:
            yield Precision(weight_bits, activation_bits, (variant or "")[1:])


def _figure(place: Place, name: str) -> Figure | None:
    if name not in place:
        return None
    figure = place[name]
    figure.keys(("value", "source"))
    text = figure["value"].text()
    with naming(place.source, figure["value"].path):
        try:
            value = exact(Decimal(text))
        except InvalidOperation:
            raise InputError(f"must be a number, got {text[:60]!r}") from None
    with naming(place.source, figure.path):
        return Figure(value, figure["source"].text())


def device_to_yaml(device: Device) -> str:
    """The text of a device file; reading it gives an equal device."""
    import yaml

    document: dict[str, Any] = {
        "format": DEVICE_FORMAT,
        "name": device.name,
        "title": device.title,
    }
    if device.notes:
        document["notes"] = list(device.notes)
    document["compute_types"] = [
        {"name": compute.name}
        | ({} if compute.precision is None else {"precision": compute.precision.label})
        | ({} if compute.scaling == "fixed" else {"scaling": compute.scaling})
        | _written(compute, _COMPUTE_FIGURES)
        for compute in device.compute_types
    ]
    document["support"] = [_written_support(entry) for entry in device.support]
    if device.memories:
        document["memories"] = [
            {"name": memory.name} | _written(memory, _MEMORY_FIGURES) for memory in device.memories
        ]
    document |= _written(device, ("layer_overhead_us",))
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100))


def _written_support(entry: Support) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if entry.kinds:
        written["kinds"] = list(entry.kinds)
    if entry.depthwise is not None:
        written["depthwise"] = entry.depthwise
    written["runs_as"] = {precision.label: name for precision, name in entry.runs_as.items()}
    return written | ({"source": entry.source} if entry.source else {})


def _written(thing: object, names: Sequence[str]) -> dict[str, Any]:
    return {
        name: {"value": decimal_text(figure.value), "source": figure.source}
        for name in names
        if (figure := getattr(thing, name)) is not None
    }
