"""The performance counters that OpenVINO's `benchmark_app` writes as CSV.

`benchmark_average_counters_report.csv` (`-report_type average_counters`) is one table with the
columns `layerName;execStatus;layerType;execType;realTime (ms);cpuTime (ms)` and a last row `Total`;
`benchmark_detailed_counters_report.csv` (`detailed_counters`) has one such table per run. The C++
tool ends each line with `;` and writes `EXECUTED` where the Python tool writes `Status.EXECUTED`.
Rows that did not run (`NOT_RUN`, `OPTIMIZED_OUT`) were fused into others or left out.
"""

from __future__ import annotations

from fractions import Fraction

from bitwright.cost_models.readers.files import cell_time
from bitwright.cost_models.readers.profile import (
    Measurement,
    Profile,
    Statistic,
    only_mean,
    quartile_distance,
    statistic_of,
)
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats.json_text import naming

COLUMNS = ("layerName", "execStatus", "layerType", "execType", "realTime (ms)", "cpuTime (ms)")
_STATUSES = ("EXECUTED", "NOT_RUN", "OPTIMIZED_OUT")
_COMPUTED_IN = {
    "f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "int8",
}  # fmt: skip


class _Rows:
    """The rows of all tables, by name and place in the first table that has them."""

    def __init__(self) -> None:
        self.times: dict[tuple[str, str, str], list[Fraction]] = {}
        self.lines: dict[tuple[str, str, str], int] = {}
        self.tables = 0
        self.unfinished = False
        self.idle = 0

    def add(self, cells: list[str], source: str, line: int) -> None:
        name, status, kind, executed, real = cells[:5]
        word = status.removeprefix("Status.")
        if word not in _STATUSES:
            raise InputError(
                f"{source}: line {line}: execStatus {word[:60]!r} is unknown; "
                f"{nearest(word[:60], _STATUSES)}"
            )
        time = cell_time(real, source, line, "realTime (ms)", 1000)
        if word == "EXECUTED":
            self.lines.setdefault((name, kind, executed), line)
            self.times.setdefault((name, kind, executed), []).append(time)
        else:
            self.idle += 1


def read_openvino(text: str, source: str, statistic: Statistic | None = None) -> Profile:
    """Read the tables; several are several runs. Raises `InputError` naming the line."""
    rows = _Rows()
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.split(";")
        if cells[: len(COLUMNS)] == list(COLUMNS):
            _require_finished(rows, source, number)
            rows.tables += 1
            rows.unfinished = True
        elif rows.unfinished and cells[0] == "Total" and not any(cells[1:4]):
            rows.unfinished = False
        elif rows.unfinished and line.strip():
            rows.add(_six(cells, source, number), source, number)
    if not rows.tables:
        raise InputError(f"{source}: no line of columns {';'.join(COLUMNS)!r}")
    _require_finished(rows, source, text.count("\n") + 1)
    return _profile(rows, source, statistic)


def _require_finished(rows: _Rows, source: str, line: int) -> None:
    if rows.unfinished:
        raise InputError(f"{source}: line {line}: the table before ends without its row 'Total'")


def _six(cells: list[str], source: str, line: int) -> list[str]:
    """The six cells of a row; a name may hold the delimiter."""
    if cells[-1] == "":
        cells = cells[:-1]
    if len(cells) < len(COLUMNS):
        raise InputError(f"{source}: line {line}: {len(COLUMNS)} cells expected, got {len(cells)}")
    split = len(cells) - len(COLUMNS) + 1
    return [";".join(cells[:split]), *cells[split:]]


def _profile(rows: _Rows, source: str, statistic: Statistic | None) -> Profile:
    if rows.tables == 1:
        only_mean(source, statistic)
    chosen = statistic or ("mean" if rows.tables == 1 else "median")
    measured = []
    for (name, kind, executed), times in rows.times.items():
        details = {"exec_type": executed}
        computed_in = _COMPUTED_IN.get(executed.rpartition("_")[2])
        if computed_in:
            details["computed_in"] = computed_in
        with naming(source, f"line {rows.lines[name, kind, executed]}"):
            measured.append(
                Measurement(
                    name, statistic_of(times, chosen), len(times), quartile_distance(times), kind,
                    details,
                )
            )  # fmt: skip
    what = (
        "averages as the file gives them" if rows.tables == 1 else f"{chosen} of {rows.tables} runs"
    )
    notes = (what, f"{rows.idle} rows did not run: fused into others, or left out by the plug-in")
    with naming(source):
        return Profile("openvino", tuple(measured), notes)
