"""What a measurement on the host consists of: times of operations and of whole networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from bitwright.measuring.end_to_end import EndToEnd, relative_errors
from bitwright.measuring.operations import LayersFound, Operation
from bitwright.measuring.timing import Times, reported
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.precision import Precision


@dataclass(frozen=True)
class Settings:
    """How to measure; `calibration` and `validation` count mixed networks, 0 of both: layers only."""

    precisions: tuple[Precision, ...]
    threads: int = 1
    repeats: int = 40
    seed: int = 0
    calibration: int = 8
    validation: int = 12


@dataclass(frozen=True)
class OperationTimes:
    """An operation at one precision, the empty run subtracted, and the types that it ran in."""

    operation: Operation
    precision: Precision
    times: Times
    runs_as: str

    @property
    def us(self) -> Decimal:
        """The least time, as a table reports it."""
        return reported(self.times.least)


@dataclass(frozen=True)
class NetworkTimes:
    """A whole network: `role` is uniform, calibration or validation; `predicted` in microseconds."""

    name: str
    role: str
    configuration: BitConfiguration
    times: Times
    predicted: float | None = None

    @property
    def error(self) -> float | None:
        """How far the prediction is from what was measured, as a share of that."""
        if self.predicted is None:
            return None
        return relative_errors([(self.predicted, self.times.least)])[0]


@dataclass(frozen=True)
class HostMeasurement:
    """All that was measured. `left_out` says of layers, and of operations at a precision, why not."""

    network: str
    batch: int
    found: LayersFound
    overhead: Times
    operations: tuple[OperationTimes, ...]
    networks: tuple[NetworkTimes, ...] = ()
    end_to_end: EndToEnd | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def overhead_us(self) -> float:
        """The least time of an empty run, as a table reports it."""
        return float(reported(self.overhead.least))

    @cached_property
    def layer_times(self) -> dict[str, dict[Precision, float]]:
        """Microseconds of every layer at every precision, over all its calls in one run.

        They are those that a table reports, so that its reader predicts what is predicted here.
        """
        found: dict[str, dict[Precision, float]] = {}
        for one in self.operations:
            for layer in one.operation.layers:
                us = one.us * self.found.calls.get(layer, 1)
                found.setdefault(layer, {})[one.precision] = float(us)
        return found

    @property
    def validation_errors(self) -> list[float]:
        """Errors of the predictions of networks that the fit has not seen."""
        return [n.error for n in self.networks if n.role == "validation" and n.error is not None]
