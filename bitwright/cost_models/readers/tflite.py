"""The CSV that TensorFlow Lite's `benchmark_model` writes with `--profiling_output_csv_file`.

Tables stand under lines `===== title =====` (tensorflow/core/util/stats_calculator.cc): `Run Order`,
`Top by Computation Time` and `Summary by node type`, once for the initialization and once, behind
`Operator-wise Profiling Info for Regular Benchmark Runs:`, for the operators. `Run Order` of the
operators is read. Its columns are `node type, first, avg_ms, %, cdf%, mem KB, times called, name`;
older versions have `start` behind the type. Names are last and may hold commas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitwright.cost_models.readers.files import cell_time
from bitwright.cost_models.readers.profile import Measurement, Profile, Statistic, only_mean
from bitwright.problems.errors import InputError
from bitwright.problems.formats.json_text import naming

_NEEDED = ("node type", "avg_ms", "times called", "name")
_OPERATORS = "operator-wise profiling info"


def read_tflite(text: str, source: str, statistic: Statistic | None = None) -> Profile:
    """Read the operators in the order in which they run; raises `InputError` naming the line."""
    only_mean(source, statistic)
    tables = list(_tables(text.splitlines(), source))
    chosen = [t for t in tables if t.operators] or [t for t in tables if not t.section]
    if not chosen:
        found = ", ".join(sorted({repr(t.section[:60]) for t in tables})) or "none"
        raise InputError(
            f"{source}: no table 'Run Order' of the operators; tables 'Run Order' found in: {found}"
        )
    rows = [row for table in chosen for row in table.rows]
    if not rows:
        raise InputError(
            f"{source}: line {chosen[0].line}: no row follows the names of the columns"
        )
    notes = ["averages as the file gives them"]
    if rare := sum(row.details.get("times_called") == "0" for row in rows):
        notes.append(f"{rare} rows did not run every time")
    with naming(source):
        return Profile("tflite", tuple(rows), tuple(notes))


class _Table:
    """One table `Run Order`, and the line of text that stood last above it as its section."""

    def __init__(self, section: str, columns: Sequence[str], line: int) -> None:
        self.section, self.columns, self.line = section, columns, line
        self.rows: list[Measurement] = []

    @property
    def operators(self) -> bool:
        return _OPERATORS in self.section.lower()


def _tables(lines: Sequence[str], source: str) -> Iterator[_Table]:
    section, title, table = "", "", None
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if line.startswith("====="):
            title, table = line.strip("= "), None
        elif line.startswith("node type,"):
            table = None
            if title in ("Run Order", ""):
                table = _Table(section, _columns(line, source, number), number)
                yield table
        elif not line:
            title, table = "", None
        elif table is not None:
            table.rows.append(_row(line, table.columns, source, number))
        elif line.endswith(":"):
            section = line


def _columns(line: str, source: str, number: int) -> list[str]:
    columns = [name.strip() for name in line.split(",")]
    for name in _NEEDED:
        if columns.count(name) != 1:
            raise InputError(f"{source}: line {number}: column {name!r} is missing or given twice")
    if columns[-1] != "name":
        raise InputError(f"{source}: line {number}: the last column must be 'name'")
    return columns


def _row(line: str, columns: Sequence[str], source: str, number: int) -> Measurement:
    cells = [cell.strip() for cell in line.split(",", len(columns) - 1)]
    if len(cells) < len(columns):
        raise InputError(
            f"{source}: line {number}: {len(columns)} cells expected, got {len(cells)}"
        )
    row = dict(zip(columns, cells, strict=True))
    average = cell_time(row["avg_ms"], source, number, "avg_ms", 1000)
    if not row["times called"].isdecimal() or len(row["times called"]) > 9:
        raise InputError(
            f"{source}: line {number}: times called must be an integer, got {row['times called'][:60]!r}"
        )
    called = int(row["times called"])
    with naming(source, f"line {number}"):
        return Measurement(
            name=row["name"],
            time_us=average * max(called, 1),
            count=1,
            kind=row["node type"],
            details={"times_called": str(called)},
        )
