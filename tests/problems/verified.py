"""A small `Verified`, with every kind of point, for tests of its format, pictures and pages."""

from __future__ import annotations

from dataclasses import replace

from bitwright.problems import BitConfiguration, Precision
from bitwright.problems.verified import (
    MeasuredQuality,
    TrainedQuality,
    Verified,
    VerifiedPoint,
)


def quality(accuracy: float, critical: float | None = 0.5, metric: str = "accuracy", classes=("a", "b")) -> MeasuredQuality:  # fmt: skip
    """Quality with this accuracy; no object of the last class occurs."""
    per_class = dict.fromkeys(classes, accuracy) | {classes[-1]: None}
    return MeasuredQuality({metric: accuracy, "f1": 0.25}, critical, per_class, ((3, 1), (0, 0)))


def point(name: str, kind: str = "front", bits: int = 4, ptq: float = 0.5, qat=(0.6, 0.7), **changes) -> VerifiedPoint:  # fmt: skip
    """A point with these accuracies after PTQ and, per seed, after QAT."""
    trained = TrainedQuality.over(tuple(quality(q, critical=q / 2) for q in qat)) if qat else None
    values = {
        "name": name,
        "kind": kind,
        "configuration": BitConfiguration({"conv": Precision(bits, 8)}),
        "costs": {"size_bits": 100 * bits, "latency_us": 0.1 * bits},
        "predicted_loss": 1 / bits,
        "measured_loss": {"critical": 1.5 / bits, "overall": None},
        "ptq": quality(ptq, critical=None),
        "qat": trained,
        "dominated": False,
        "weights": tuple(f"verify/{name}-{i}.safetensors" for i in range(len(qat))),
    }
    return VerifiedPoint(**(values | changes))


def verified(points=None, seeds=(0, 7), **changes) -> Verified:
    """A run with a solution, a point of a front that is dominated, and a uniform one."""
    if points is None:
        points = (
            point("small", "solution", 2, ptq=0.2),
            replace(point("front 3/9", "front", 3), dominated=True),
            point("uniform w4a8", "uniform", 4, weights=()),
        )
    values = {
        "version": "0.1.0",
        "seed": 3,
        "loss_reading": "critical",
        "cost": "size_bits",
        "main_metric": "accuracy",
        "critical_classes": ("a",),
        "seeds": seeds,
        "float_quality": quality(0.9),
        "float_losses": {"critical": 0.1, "overall": 0.2},
        "points": points,
    }
    return Verified(**(values | changes))
