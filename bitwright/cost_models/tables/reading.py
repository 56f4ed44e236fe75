"""Reading cost tables: CSV keyed by layer or by operation, one row per precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from bitwright.cost_models.tables.rows import MEDIAN, SPREAD, CostRow
from bitwright.problems.errors import InputError
from bitwright.problems.exact import exact
from bitwright.problems.formats.json_text import LARGEST_BYTES, naming
from bitwright.problems.formats.table_csv import Row, Table, parse_table, read_table
from bitwright.problems.operation import COLUMNS, OperationKey
from bitwright.problems.precision import Precision

LAYER, BITS = "layer", ("weight_bits", "activation_bits")
VARIANT, RUNS_AS = "variant", "runs_as"


@dataclass(frozen=True)
class CostData:
    """What a cost table says: its rows, and the `# key: value` lines above them.

    All rows are keyed by layer, or all by operation. `units` are those of all columns of costs, read
    or not. `decimal_comma`: numbers may have one.
    """

    source: str
    by_operation: bool
    header: Mapping[str, str]
    rows: tuple[CostRow, ...]
    units: tuple[str, ...] = ()
    decimal_comma: bool = False


def read_cost_table(path: str | Path, costs: Sequence[str] | None = None) -> CostData:
    """Read the named cost columns, or all there are, where blank cells are then left out.

    Raises `InputError` naming file, line and column, also for a row given twice.
    """
    return _interpreted(read_table(path, largest_bytes=LARGEST_BYTES), costs)


def parse_cost_table(text: str, source: str) -> CostData:
    """The same of CSV text, all costs; `source` names it in errors."""
    return _interpreted(parse_table(text, source), None)


def _interpreted(table: Table, costs: Sequence[str] | None) -> CostData:
    by_operation = _is_by_operation(table)
    table.require((*(COLUMNS if by_operation else (LAYER,)), *BITS, *(costs or ())))
    columns = _cost_columns(table)
    names = columns if costs is None else tuple(costs)
    if not names:
        raise InputError(f"{table.source}: the table has no column of costs, such as 'latency_us'")
    rows: dict[tuple[str | OperationKey, Precision], CostRow] = {}
    for row in table.rows:
        known = _cost_row(row, by_operation, names, optional=costs is None)
        what = "" if by_operation else f"{LAYER} "
        if (known.key, known.precision) in rows:
            shown = known.key if by_operation else repr(known.key)
            raise InputError(
                f"{row.source}: line {row.line}: {what}{shown} at {known.precision} is given twice"
            )
        rows[known.key, known.precision] = known
    units = tuple(dict.fromkeys(column.rpartition("_")[2] for column in columns))
    return CostData(
        table.source,
        by_operation,
        table.header,
        tuple(rows.values()),
        units,
        table.rows[0].decimal_comma,
    )


def _is_by_operation(table: Table) -> bool:
    if LAYER in table.columns and "op" in table.columns:
        raise InputError(
            f"{table.source}: the table has the columns {LAYER!r} and 'op'; its rows are keyed either "
            "by layer or by operation, so put the two kinds into two files"
        )
    return "op" in table.columns


def _cost_columns(table: Table) -> tuple[str, ...]:
    known = (LAYER, *COLUMNS, *BITS, VARIANT, RUNS_AS)
    return tuple(c for c in table.columns if c not in known and not c.endswith((MEDIAN, SPREAD)))


def _cost_row(row: Row, by_operation: bool, names: Sequence[str], *, optional: bool) -> CostRow:
    weight, activation = (row.integer(column) for column in BITS)
    with naming(row.source, f"line {row.line}"):
        precision = Precision(weight, activation, row.cells.get(VARIANT, ""))
        key = _operation(row) if by_operation else row.text(LAYER)
        given = [name for name in names if row.cells[name] or not optional]
        return CostRow(
            key,
            precision,
            {name: _amount(row, name) for name in given},
            _beside(row, given, MEDIAN),
            _beside(row, given, SPREAD),
            row.cells.get(RUNS_AS, ""),
        )


def _operation(row: Row) -> OperationKey:
    return OperationKey(row.text("op"), *(row.integer(column) for column in COLUMNS[1:]))


def _beside(row: Row, names: Sequence[str], ending: str) -> dict[str, Fraction]:
    """Medians or spreads; a blank cell says that it is not known."""
    return {name: _amount(row, name + ending) for name in names if row.cells.get(name + ending)}


def _amount(row: Row, column: str) -> Fraction:
    with naming(row.source, f"line {row.line}"):
        amount = exact(row.number(column), column)
    return amount if amount >= 0 else row.fail(column, "must not be negative")
