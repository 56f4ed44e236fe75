"""What a folder of losses holds: the plan of a measurement, and `index.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bitwright.problems import Precision
from bitwright.problems.formats.atomic import write_atomic
from bitwright.problems.formats.json_text import Place, dump_json, naming, read_json
from bitwright.problems.version import __version__

FORMAT = "bitwright-significance/1"
METHOD = "each component alone at the precision, all others in float32"
INDEX = "index.json"


@dataclass(frozen=True)
class Plan:
    """What is to be measured, and on what: equal plans have equal losses.

    `candidates` maps every component to the precisions that it may take; `weights` and `data` are
    digests, `quantization` names the rules of quantizing.
    """

    candidates: Mapping[str, tuple[Precision, ...]]
    classes: tuple[str, ...]
    split: str
    seed: int
    weights: str
    data: str
    quantization: str

    @property
    def components(self) -> tuple[str, ...]:
        """The first axis of the losses."""
        return tuple(self.candidates)

    @cached_property
    def precisions(self) -> tuple[Precision, ...]:
        """The second axis of the losses: every precision that some component may take, in order."""
        return tuple(sorted({p for offered in self.candidates.values() for p in offered}))

    @cached_property
    def cells(self) -> Mapping[tuple[str, Precision], tuple[int, int]]:
        """Where the losses of each offered (component, precision) stand on the first two axes."""
        return {
            (component, precision): (i, self.precisions.index(precision))
            for i, (component, offered) in enumerate(self.candidates.items())
            for precision in offered
        }

    def differences(self, other: Plan) -> tuple[str, ...]:
        """Names of the fields in which two plans differ."""
        mine, theirs = vars(self), vars(other)
        return tuple(n for n in self.__dataclass_fields__ if mine[n] != theirs[n])


@dataclass(frozen=True)
class Index:
    """The content of `index.json`; `seconds` holds one time per cell of the plan, or is None."""

    plan: Plan
    terms: tuple[str, ...]
    object_classes: tuple[int, ...]
    seconds: Mapping[tuple[str, Precision], float] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the losses: components, precisions, objects."""
        return len(self.plan.components), len(self.plan.precisions), len(self.object_classes)


def write_index(folder: Path, index: Index) -> None:
    """Write `index.json`, whole or not at all."""
    plan, seconds = index.plan, index.seconds
    document = {
        "format": FORMAT,
        "version": __version__,
        "method": METHOD,
        "seed": plan.seed,
        "weights": plan.weights,
        "data": plan.data,
        "quantization": plan.quantization,
        "components": plan.components,
        "precisions": [p.label for p in plan.precisions],
        "candidates": {c: [p.label for p in offered] for c, offered in plan.candidates.items()},
        "classes": plan.classes,
        "terms": index.terms,
        "objects": {"split": plan.split, "classes": index.object_classes},
        "seconds": None
        if seconds is None
        else {c: {p.label: seconds[c, p] for p in plan.candidates[c]} for c in plan.components},
    }
    write_atomic(folder / INDEX, dump_json(document) + "\n")


def read_index(folder: Path) -> Index:
    """Read `index.json`; raises `InputError` naming the place of what is wrong."""
    source = str(folder / INDEX)
    root = Place(read_json(source), source)
    root.keys(
        ("format", "version", "method", "seed", "weights", "data", "quantization",
         "components", "precisions", "candidates", "classes", "terms", "objects", "seconds")
    )  # fmt: skip
    root["format"].choice((FORMAT,))
    root["objects"].keys(("split", "classes"))
    plan = Plan(
        candidates={c: _precisions(place) for c, place in root["candidates"].fields()},
        classes=_texts(root["classes"]),
        split=root["objects"]["split"].text(),
        seed=root["seed"].integer(),
        weights=root["weights"].text(),
        data=root["data"].text(),
        quantization=root["quantization"].text(),
    )
    if _texts(root["components"]) != plan.components:
        root["components"].fail("must be the keys of 'candidates', in their order")
    if _precisions(root["precisions"]) != plan.precisions:
        root["precisions"].fail("must be all the precisions in 'candidates', in order")
    object_classes = tuple(place.integer() for place in root["objects"]["classes"].items())
    if not all(0 <= k < len(plan.classes) for k in object_classes):
        root["objects"]["classes"].fail(f"must be indices of the {len(plan.classes)} classes")
    seconds = None if root["seconds"].value is None else _seconds(root["seconds"])
    if seconds is not None and set(seconds) != set(plan.cells):
        root["seconds"].fail("must hold one time for every precision in 'candidates'")
    return Index(plan, _texts(root["terms"]), object_classes, seconds)


def _texts(place: Place) -> tuple[str, ...]:
    return tuple(item.text() for item in place.items())


def _precisions(place: Place) -> tuple[Precision, ...]:
    return tuple(_precision(item.text(), place) for item in place.items())


def _precision(label: str, place: Place) -> Precision:
    with naming(place.source, place.path):
        return Precision.parse(label)


def _seconds(place: Place) -> dict[tuple[str, Precision], float]:
    return {
        (component, _precision(label, row)): float(value.number())
        for component, row in place.fields()
        for label, value in row.fields()
    }
