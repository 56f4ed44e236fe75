"""What was measured as a cost table: CSV by layer or by operation, with its provenance on top."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bitwright.cost_models.tables.rows import CostRow
from bitwright.cost_models.tables.writing import write_cost_table
from bitwright.measuring.results import HostMeasurement, OperationTimes, Settings
from bitwright.measuring.runtime import Runtime
from bitwright.measuring.timing import RESOLUTION_US, TURN_SECONDS, reported, typical_spread
from bitwright.problems.errors import InputError
from bitwright.problems.operation import OperationKey
from bitwright.problems.precision import Precision

COST = "latency_us"


def write_measured(
    path: Path, measured: HostMeasurement, header: Mapping[str, str], by: str
) -> list[str]:
    """Write the table, atomically; returns the layers that it cannot list, with the reason."""
    rows, missing = _by_layer(measured) if by == "layer" else _by_operation(measured)
    if not rows:
        raise InputError(f"{path}: no operation has a key; write the table --by layer")
    write_cost_table(path, rows, header)
    return missing


def header_of(
    measured: HostMeasurement, runtime: Runtime, settings: Settings, date: str | None = None
) -> dict[str, str]:
    """The lines on top of the table; figures are plain numbers."""
    spread = typical_spread([one.times for one in measured.operations])
    threads = f"{settings.threads} thread{'s' if settings.threads > 1 else ''}"
    lines = {
        "network": measured.network,
        "device": f"{_processor()}, {threads}, batch {measured.batch}",
        "runtime": f"{runtime.name} {runtime.version}",
        "date": date or time.strftime("%Y-%m-%d"),
        "threads": str(settings.threads),
        "batch": str(measured.batch),
        "repeats": f"{settings.repeats} turns of about {TURN_SECONDS * 1e3:g} ms; the least is given",
        "spread": f"the middle one of all medians is {spread:.1%} above the least",
        "resolution_us": f"{RESOLUTION_US:g}",
        "overhead_us": f"{measured.overhead_us:.2f}",
    }
    if measured.end_to_end is not None:
        lines |= measured.end_to_end.header
    if errors := measured.validation_errors:
        lines["prediction_error"] = (
            f"{sum(errors) / len(errors):.1%} on average, {max(errors):.1%} at most, of "
            f"{len(errors)} mixed networks that were not fitted"
        )
    return lines


def _by_layer(measured: HostMeasurement) -> tuple[list[CostRow], list[str]]:
    order = {name: place for place, name in enumerate(measured.found.operation_of)}
    rows = [(name, one) for one in measured.operations for name in one.operation.layers]
    rows.sort(key=lambda row: (order[row[0]], row[1].precision))
    calls = measured.found.calls
    return [_row(name, one, calls.get(name, 1)) for name, one in rows], []


def _by_operation(measured: HostMeasurement) -> tuple[list[CostRow], list[str]]:
    """One row per key; the slower one where the columns cannot tell two operations apart."""
    rows: dict[tuple[OperationKey, Precision], OperationTimes] = {}
    missing: list[str] = []
    for one in measured.operations:
        key = one.operation.key
        if key is None:
            missing += [n for n in one.operation.layers if n not in missing]
            continue
        known = rows.get((key, one.precision))
        if known is None or known.times.least < one.times.least:
            rows[key, one.precision] = one
    return [_row(key, one, 1) for (key, _), one in rows.items()], missing


def _row(key: str | OperationKey, one: OperationTimes, calls: int) -> CostRow:
    times = one.times
    return CostRow(
        key,
        one.precision,
        {COST: one.us * calls},
        {COST: reported(times.median) * calls},
        {COST: reported(times.spread) * calls},
        one.runs_as,
    )


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else f"{platform.machine()} CPU"


def not_as_asked(operations: Sequence[OperationTimes]) -> list[str]:
    """Operations at 8 bits or fewer on both sides that the runtime did not compute in integers."""
    return [
        f"{one.operation} at {one.precision} runs as {one.runs_as}"
        for one in operations
        if one.runs_as
        and one.runs_as != "int8"
        and max(one.precision.weight_bits, one.precision.activation_bits) <= 8
    ]
