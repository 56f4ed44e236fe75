"""What was measured as a cost table: CSV by layer or by operation, with its provenance on top."""

from __future__ import annotations

import csv
import io
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bitwright.measuring.results import HostMeasurement, OperationTimes, Settings
from bitwright.measuring.runtime import Runtime
from bitwright.measuring.timing import RESOLUTION_US, TURN_SECONDS, typical_spread
from bitwright.problems.errors import InputError
from bitwright.problems.formats.atomic import write_atomic
from bitwright.problems.operation import COLUMNS

BY = ("operation", "layer")


def write_measured(
    path: Path, measured: HostMeasurement, header: Mapping[str, str], by: str
) -> list[str]:
    """Write the table, atomically; returns the layers that it cannot list, with the reason."""
    rows, missing = _by_layer(measured) if by == "layer" else _by_operation(measured)
    if not rows:
        raise InputError(f"{path}: no operation has a key; write the table --by layer")
    stream = io.StringIO()
    for key, value in header.items():
        stream.write(f"# {key}: {value}\n")
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, stream.getvalue())
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
        "overhead_us": _figure(measured.overhead.least),
    }
    if measured.end_to_end is not None:
        lines |= measured.end_to_end.header
    if errors := measured.validation_errors:
        lines["prediction_error"] = (
            f"{sum(errors) / len(errors):.1%} on average, {max(errors):.1%} at most, of "
            f"{len(errors)} mixed networks that were not fitted"
        )
    return lines


def _by_layer(measured: HostMeasurement) -> tuple[list[dict[str, str]], list[str]]:
    order = {name: place for place, name in enumerate(measured.found.operation_of)}
    rows = [(name, one) for one in measured.operations for name in one.operation.layers]
    rows.sort(key=lambda row: (order[row[0]], row[1].precision))
    calls = measured.found.calls
    return [{"layer": name} | _cells(one, calls.get(name, 1)) for name, one in rows], []


def _by_operation(measured: HostMeasurement) -> tuple[list[dict[str, str]], list[str]]:
    """One row per key; the slower one where the columns cannot tell two operations apart."""
    rows: dict[tuple[object, ...], OperationTimes] = {}
    missing: list[str] = []
    for one in measured.operations:
        key = one.operation.key
        if key is None:
            missing += [n for n in one.operation.layers if n not in missing]
            continue
        known = rows.get((key, one.precision))
        if known is None or known.times.least < one.times.least:
            rows[key, one.precision] = one
    return [
        {column: str(getattr(one.operation.key, column)) for column in COLUMNS} | _cells(one, 1)
        for one in rows.values()
    ], missing


def _cells(one: OperationTimes, calls: int) -> dict[str, str]:
    precision, times = one.precision, one.times
    return {
        "weight_bits": str(precision.weight_bits),
        "activation_bits": str(precision.activation_bits),
        "variant": precision.variant,
        "latency_us": _figure(times.least * calls),
        "latency_us_median": _figure(times.median * calls),
        "latency_us_spread": _figure(times.spread * calls),
        "runs_as": one.runs_as,
    }


def _figure(us: float) -> str:
    return f"{us:.2f}"


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
