"""The profile that `trtexec --exportProfile=FILE` writes: average times of an engine's layers.

The shape is that of `Profiler::exportJSONProfile` in TensorRT's samples/common/sampleReporting.cpp:
a first row `{"count": N}` with the number of runs, then one row per layer of the engine with `name`,
`timeMs` (all runs), `averageMs`, `medianMs` (since 8.4) and `percentage`.
"""

from __future__ import annotations

from bitwright.cost_models.readers.files import time_of
from bitwright.cost_models.readers.profile import Measurement, Profile, Statistic
from bitwright.problems.errors import InputError
from bitwright.problems.formats.json_text import Place, naming

_COLUMN = {"median": "medianMs", "mean": "averageMs"}


def read_trtexec(document: object, source: str, statistic: Statistic | None = None) -> Profile:
    """Read the parsed JSON; without a statistic the median is taken where the file has it.

    Raises `InputError` naming the place.
    """
    first, *others = Place(document, source).items() or [Place({}, source)]
    if "count" not in first:
        raise InputError(f"{source}: the first row must be {{'count': runs}}")
    count = first["count"].integer()
    if count < 1:
        first["count"].fail(f"must be at least 1, got {count}")
    if not others:
        raise InputError(f"{source}: no layer follows the row of the count")
    if statistic is None:
        statistic = "median" if all("medianMs" in row for row in others) else "mean"
    if statistic not in _COLUMN:
        raise InputError(f"{source}: trtexec gives means and medians, no {statistic}")
    rows = tuple(_row(row, count, _COLUMN[statistic]) for row in others)
    with naming(source):
        return Profile("trtexec", rows, (f"{statistic} of {count} runs",))


def _row(row: Place, count: int, column: str) -> Measurement:
    for key in ("name", column):
        if key not in row:
            row.fail(f"key {key!r} is missing")
    with naming(row.source, row.path):
        return Measurement(row["name"].text(), time_of(row[column], 1000), count)
