"""Writing cost tables, so that they read back as they were."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from bitwright.cost_models.tables.reading import BITS, LAYER, RUNS_AS, VARIANT, parse_cost_table
from bitwright.cost_models.tables.rows import MEDIAN, SPREAD, CostRow
from bitwright.problems.errors import InputError
from bitwright.problems.exact import Number, exact
from bitwright.problems.formats.atomic import write_atomic
from bitwright.problems.formats.json_text import decimal_text, naming
from bitwright.problems.formats.table_csv import parse_table
from bitwright.problems.operation import COLUMNS, OperationKey


def write_cost_table(
    path: str | Path, rows: Sequence[CostRow], header: Mapping[str, str | Number] | None = None
) -> None:
    """Write rows of one kind under `# key: value` lines; all or nothing reaches the disk.

    Columns that every row leaves empty are left out. Raises `InputError` for rows of both kinds, for
    a row given twice, for rows with different costs, and for text that CSV would not give back.
    """
    lines = {key: _text(value) for key, value in (header or {}).items()}
    with naming(str(path)):
        text = _table_text(tuple(rows), lines)
        # Text that CSV would not give back can also break the lines around it, so it is looked for alone.
        for key, value in lines.items():
            alone = parse_table(_header_text({key: value}) + "layer\nx\n", str(path))
            if alone.header != {key: value} or len(alone.rows) != 1:
                raise InputError(f"header line {key!r} cannot be written as {value!r}")
        back = parse_cost_table(text, str(path))
    if back.header != lines or back.rows != tuple(rows):
        wrong = next((r for r, b in zip(rows, back.rows, strict=False) if r != b), rows[-1])
        raise InputError(f"{path}: the row of {wrong.key!r} would not be read back as it is")
    write_atomic(path, text)


def _table_text(rows: tuple[CostRow, ...], header: Mapping[str, str]) -> str:
    if not rows:
        raise InputError("a cost table needs one row or more")
    by_operation = isinstance(rows[0].key, OperationKey)
    names = tuple(rows[0].costs)
    for row in rows:
        if isinstance(row.key, OperationKey) != by_operation:
            raise InputError("rows of one cost table are keyed either by layer or by operation")
        if set(row.costs) != set(names):
            raise InputError(
                f"rows of one cost table have the same costs; {row.key} at {row.precision} has "
                f"{sorted(row.costs)}, the first row {sorted(names)}"
            )
    records = [_cells(row, names) for row in rows]
    columns = [c for c in records[0] if c in (LAYER, *BITS) or any(r[c] for r in records)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([record[column] for column in columns] for record in records)
    return _header_text(header) + stream.getvalue()


def _header_text(header: Mapping[str, str]) -> str:
    """The lines above the columns, in quotes only where they hold some."""
    lines = (f"# {key}: {value}" for key, value in header.items())
    quoted = ('"' + line.replace('"', '""') + '"' if '"' in line else line for line in lines)
    return "".join(line + "\n" for line in quoted)


def _cells(row: CostRow, names: Sequence[str]) -> dict[str, str]:
    if isinstance(row.key, OperationKey):
        cells = {column: str(getattr(row.key, column)) for column in COLUMNS}
    else:
        cells = {LAYER: row.key}
    cells |= {bits: str(getattr(row.precision, bits)) for bits in BITS}
    cells[VARIANT] = row.precision.variant
    for name in names:
        cells[name] = _text(row.costs[name])
        cells[name + MEDIAN] = _text(row.medians[name]) if name in row.medians else ""
        cells[name + SPREAD] = _text(row.spreads[name]) if name in row.spreads else ""
    cells[RUNS_AS] = row.runs_as
    return cells


def _text(value: str | Number) -> str:
    return value if isinstance(value, str) else decimal_text(exact(value))
