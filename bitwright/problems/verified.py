"""What was measured of chosen configurations on the real network (`verified.json`)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError, nearest

KINDS = ("solution", "front", "uniform")
READINGS = ("critical", "overall")


@dataclass(frozen=True)
class MeasuredQuality:
    """Quality of one network on the test split; every figure is better when higher.

    `metrics` are overall figures, `critical` the mean over the critical classes, `per_class` one
    figure per class; None where no object of the classes occurs. `confusion[true][predicted]`
    counts objects.
    """

    metrics: Mapping[str, float] = field(hash=False)
    critical: float | None
    per_class: Mapping[str, float | None] = field(hash=False)
    confusion: tuple[tuple[int, ...], ...] = field(repr=False)


@dataclass(frozen=True)
class OverSeeds:
    """One figure measured with several seeds; None where it does not exist."""

    values: tuple[float | None, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))

    @property
    def mean(self) -> float | None:
        """Mean over the seeds for which the figure exists."""
        known = self._known
        return statistics.fmean(known) if known else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds (of the sample: n - 1); None for fewer than two."""
        known = self._known
        if len(known) < 2:
            return None
        centre = statistics.fmean(known)
        return math.sqrt(math.fsum((v - centre) ** 2 for v in known) / (len(known) - 1))

    @property
    def _known(self) -> list[float]:
        return [value for value in self.values if value is not None]


@dataclass(frozen=True)
class TrainedQuality:
    """Quality after quantization-aware training, every figure over seeds; higher is better."""

    metrics: Mapping[str, OverSeeds] = field(hash=False)
    critical: OverSeeds
    per_class: Mapping[str, OverSeeds] = field(hash=False)

    @classmethod
    def over(cls, qualities: tuple[MeasuredQuality, ...]) -> TrainedQuality:
        """The qualities of one configuration, one per seed, figure by figure."""
        first = qualities[0]
        return cls(
            metrics={n: OverSeeds(tuple(q.metrics[n] for q in qualities)) for n in first.metrics},
            critical=OverSeeds(tuple(q.critical for q in qualities)),
            per_class={
                n: OverSeeds(tuple(q.per_class[n] for q in qualities)) for n in first.per_class
            },
        )


@dataclass(frozen=True)
class VerifiedPoint:
    """One configuration as measured.

    `kind` says where it comes from: `solution`, `front` or `uniform`. Losses are growths over the
    float network on the score split, lower is better: `predicted_loss` is the problem's sum over
    layers, `measured_loss` that of the whole configuration at once, by reading. `weights` names the
    files of the trained networks, one per seed, relative to the run folder; empty where none is
    kept. `dominated`: another point costs no more in anything and is at least as good.
    """

    name: str
    kind: str
    configuration: BitConfiguration
    costs: Mapping[str, int | float] = field(hash=False)
    predicted_loss: float
    measured_loss: Mapping[str, float | None] = field(hash=False)
    ptq: MeasuredQuality
    qat: TrainedQuality | None
    dominated: bool
    weights: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))
        if self.kind not in KINDS:
            raise InputError(f"kind {self.kind!r} is unknown; {nearest(self.kind, KINDS)}")
        if self.weights and self.qat is None:
            raise InputError(f"point {self.name!r} has weights but was not trained")

    def best(self, metric: str) -> float:
        """The metric after QAT (mean over seeds) where that was done, else after PTQ."""
        trained = None if self.qat is None else self.qat.metrics[metric].mean
        return self.ptq.metrics[metric] if trained is None else trained


@dataclass(frozen=True)
class Verified:
    """All that was verified of a run.

    `loss_reading` says which of the measured losses the problem predicts, `cost` which cost pictures
    show, `main_metric` which metric decides who is dominated. Every point that was trained has one
    figure per seed in `seeds`.
    """

    version: str
    seed: int
    loss_reading: str
    cost: str
    main_metric: str
    critical_classes: tuple[str, ...]
    seeds: tuple[int, ...]
    float_quality: MeasuredQuality
    float_losses: Mapping[str, float | None] = field(hash=False)
    points: tuple[VerifiedPoint, ...]
    quality_split: str = "test"
    loss_split: str = "score"

    def __post_init__(self) -> None:
        for name in ("critical_classes", "seeds", "points"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.loss_reading not in READINGS:
            raise InputError(
                f"loss_reading {self.loss_reading!r} is unknown; {nearest(self.loss_reading, READINGS)}"
            )
        metrics = self.float_quality.metrics
        if self.main_metric not in metrics:
            raise InputError(
                f"main_metric {self.main_metric!r} was not measured; {nearest(self.main_metric, metrics)}"
            )
        names = [point.name for point in self.points]
        for point in self.points:
            self._check(point)
            if names.count(point.name) > 1:
                raise InputError(f"two points are named {point.name!r}")

    def _check(self, point: VerifiedPoint) -> None:
        if self.cost not in point.costs:
            raise InputError(
                f"point {point.name!r}: cost {self.cost!r} is missing; {nearest(self.cost, point.costs)}"
            )
        measured = [point.ptq.metrics] + ([point.qat.metrics] if point.qat else [])
        for metrics in measured:
            if metrics.keys() != self.float_quality.metrics.keys():
                raise InputError(
                    f"point {point.name!r} must have the metrics of the float network, "
                    f"{list(self.float_quality.metrics)}, got {list(metrics)}"
                )
        if point.qat is not None:
            counts = {len(figures.values) for figures in point.qat.metrics.values()}
            if counts != {len(self.seeds)}:
                raise InputError(
                    f"point {point.name!r} must have one figure per seed, {len(self.seeds)}"
                )
        if point.weights and len(point.weights) != len(self.seeds):
            raise InputError(
                f"point {point.name!r} must have weights for all {len(self.seeds)} seeds or for none, "
                f"got {len(point.weights)}"
            )

    def point(self, name: str) -> VerifiedPoint:
        """The point of that name; raises `InputError` with the nearest one."""
        for point in self.points:
            if point.name == name:
                return point
        raise InputError(
            f"no verified point is named {name!r}; {nearest(name, [p.name for p in self.points])}"
        )
