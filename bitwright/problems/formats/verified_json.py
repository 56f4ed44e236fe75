"""What was verified (`bitwright-verified/1`) as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitwright.problems.exact import plain
from bitwright.problems.formats.answers_json import bits_document, bits_from_place
from bitwright.problems.formats.json_text import Place, naming
from bitwright.problems.verified import (
    KINDS,
    READINGS,
    MeasuredQuality,
    OverSeeds,
    TrainedQuality,
    Verified,
    VerifiedPoint,
)

VERIFIED_FORMAT = "bitwright-verified/1"


def verified_document(verified: Verified) -> dict[str, Any]:
    """The document of what was verified; figures that do not exist are null."""
    return {
        "format": VERIFIED_FORMAT,
        "version": verified.version,
        "seed": verified.seed,
        "loss_reading": verified.loss_reading,
        "cost": verified.cost,
        "quality_split": verified.quality_split,
        "loss_split": verified.loss_split,
        "main_metric": verified.main_metric,
        "critical_classes": list(verified.critical_classes),
        "seeds": list(verified.seeds),
        "float": {
            "quality": quality_document(verified.float_quality),
            "losses": dict(verified.float_losses),
        },
        "points": [_point_document(point) for point in verified.points],
    }


def _point_document(point: VerifiedPoint) -> dict[str, Any]:
    return {
        "name": point.name,
        "kind": point.kind,
        "bits": bits_document(point.configuration),
        "costs": dict(point.costs),
        "predicted_loss": point.predicted_loss,
        "measured_loss": dict(point.measured_loss),
        "ptq": quality_document(point.ptq),
        "qat": None if point.qat is None else _trained_document(point.qat),
        "weights": list(point.weights),
        "dominated": point.dominated,
    }


def quality_document(quality: MeasuredQuality) -> dict[str, Any]:
    """The document of one measurement."""
    return {
        "metrics": dict(quality.metrics),
        "critical": quality.critical,
        "per_class": dict(quality.per_class),
        "confusion": [list(row) for row in quality.confusion],
    }


def _trained_document(trained: TrainedQuality) -> dict[str, Any]:
    def of_each(figures: Mapping[str, OverSeeds]) -> dict[str, Any]:
        return {name: _seeds_document(figure) for name, figure in figures.items()}

    return {
        "metrics": of_each(trained.metrics),
        "critical": _seeds_document(trained.critical),
        "per_class": of_each(trained.per_class),
    }


def _seeds_document(figure: OverSeeds) -> dict[str, Any]:
    return {"mean": figure.mean, "spread": figure.spread, "seeds": list(figure.values)}


def verified_from_document(document: Any, source: str) -> Verified:
    """Read what was verified; raises `InputError` naming file and place."""
    root = Place(document, source)
    root.kind(VERIFIED_FORMAT)
    root.keys(
        ("format", "loss_reading", "cost", "main_metric", "critical_classes", "seeds", "float", "points"),
        ("version", "seed", "quality_split", "loss_split"),
    )  # fmt: skip
    root["format"].choice((VERIFIED_FORMAT,))
    root["float"].keys(("quality", "losses"))
    with naming(source):
        return Verified(
            version=root["version"].text() if "version" in root else "",
            seed=root["seed"].integer() if "seed" in root else 0,
            loss_reading=root["loss_reading"].choice(READINGS),
            cost=root["cost"].text(),
            main_metric=root["main_metric"].text(),
            critical_classes=tuple(p.text() for p in root["critical_classes"].items()),
            seeds=tuple(p.integer() for p in root["seeds"].items()),
            float_quality=quality_from_place(root["float"]["quality"]),
            float_losses=readings_from_place(root["float"]["losses"]),
            points=tuple(_point(place) for place in root["points"].items()),
            **{n: root[n].text() for n in ("quality_split", "loss_split") if n in root},
        )


def _point(place: Place) -> VerifiedPoint:
    place.keys(
        ("name", "kind", "bits", "costs", "predicted_loss", "measured_loss", "ptq", "qat", "dominated"),
        ("weights",),
    )  # fmt: skip
    trained = place["qat"]
    weights = place["weights"].items() if "weights" in place else []
    with naming(place.source, place.path):
        return VerifiedPoint(
            name=place["name"].text(),
            kind=place["kind"].choice(KINDS),
            configuration=bits_from_place(place["bits"]),
            costs={name: plain(value.exact()) for name, value in place["costs"].fields()},
            predicted_loss=place["predicted_loss"].real(),
            measured_loss=readings_from_place(place["measured_loss"]),
            ptq=quality_from_place(place["ptq"]),
            qat=None if trained.value is None else _trained(trained),
            weights=tuple(file.text() for file in weights),
            dominated=place["dominated"].boolean(),
        )


def quality_from_place(place: Place) -> MeasuredQuality:
    """Read one measurement."""
    place.keys(("metrics", "critical", "per_class", "confusion"))
    return MeasuredQuality(
        metrics={name: value.real() for name, value in place["metrics"].fields()},
        critical=_real_or_none(place["critical"]),
        per_class={name: _real_or_none(value) for name, value in place["per_class"].fields()},
        confusion=tuple(
            tuple(cell.integer() for cell in row.items()) for row in place["confusion"].items()
        ),
    )


def _trained(place: Place) -> TrainedQuality:
    place.keys(("metrics", "critical", "per_class"))
    return TrainedQuality(
        metrics={name: _over_seeds(value) for name, value in place["metrics"].fields()},
        critical=_over_seeds(place["critical"]),
        per_class={name: _over_seeds(value) for name, value in place["per_class"].fields()},
    )


def _over_seeds(place: Place) -> OverSeeds:
    place.keys(("seeds",), ("mean", "spread"))
    for name in ("mean", "spread"):  # these follow from the figures of the seeds
        if name in place:
            _real_or_none(place[name])
    return OverSeeds(tuple(_real_or_none(value) for value in place["seeds"].items()))


def readings_from_place(place: Place) -> dict[str, float | None]:
    """Read a loss by reading: over critical and over all objects."""
    place.keys(READINGS)
    return {name: _real_or_none(place[name]) for name in READINGS}


def _real_or_none(place: Place) -> float | None:
    return None if place.value is None else place.real()
