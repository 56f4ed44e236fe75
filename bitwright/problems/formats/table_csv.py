"""Tables as spreadsheets write them: any column order, `,` `;` or tab, with or without BOM."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.exact import exact
from bitwright.problems.formats.json_text import naming, read_text

_DELIMITERS = ",;\t"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class Row:
    """One row of a table, with checked access; errors name file, line, column and value."""

    source: str
    line: int
    cells: dict[str, str]
    decimal_comma: bool

    def fail(self, column: str, rule: str) -> NoReturn:
        """Raise `InputError` for the cell in a column."""
        raise InputError(
            f"{self.source}: line {self.line}: {column} {rule}, got {self.cells.get(column)!r}"
        )

    def text(self, column: str) -> str:
        """The cell as non-empty text."""
        return self.cells[column] or self.fail(column, "must not be empty")

    def number(self, column: str) -> Decimal:
        """The cell as an exact finite number."""
        text = self.cells[column]
        if self.decimal_comma and _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(",", ".")
        try:
            value = Decimal(text.replace("_", "?"))  # Decimal, no spreadsheet, reads 1_000
        except InvalidOperation:
            self.fail(column, "must be a number")
        return value if value.is_finite() else self.fail(column, "must be finite")

    def integer(self, column: str) -> int:
        """The cell as an integer; 8.0 counts as 8."""
        value = self.number(column)
        with naming(self.source, f"line {self.line}"):
            number = exact(value, column)
        return int(number) if number.denominator == 1 else self.fail(column, "must be an integer")


@dataclass(frozen=True)
class Table:
    """A table's column names, its rows, and the `# key: value` lines above it."""

    source: str
    columns: tuple[str, ...]
    header: dict[str, str]
    rows: tuple[Row, ...]

    def require(self, columns: Sequence[str], offered: Sequence[str] = ()) -> None:
        """Raise `InputError` for a missing column, naming the nearest one that is there."""
        for name in columns:
            if name not in self.columns:
                raise InputError(
                    f"{self.source}: column {name!r} is missing; {nearest(name, (*self.columns, *offered))}"
                )


def read_table(path: str | Path) -> Table:
    """Read a CSV file; raises `InputError` for an empty, ragged or badly encoded one."""
    return parse_table(read_text(path), str(path))


def parse_table(text: str, source: str) -> Table:
    """Read CSV text; `source` names it in errors."""
    lines = text.splitlines(keepends=True)
    header, skipped = {}, 0
    for line in lines:
        if not line.strip():
            skipped += 1
        elif line.startswith("#"):
            key, _, value = line[1:].partition(":")
            header[key.strip()] = value.strip()
            skipped += 1
        else:
            break
    body = "".join(lines[skipped:])
    if not body:
        raise InputError(f"{source}: the table is empty; its first row must name the columns")
    first = body.splitlines()[0]
    delimiter = max(_DELIMITERS, key=first.count)
    records = _records(body, delimiter, source, skipped)
    _, names = next(records)
    columns = tuple(name.strip() for name in names)
    for name in columns:
        if columns.count(name) > 1:
            raise InputError(f"{source}: column {name!r} is given twice")
    rows = []
    for number, cells in records:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise InputError(
                f"{source}: line {number}: {len(columns)} cells expected, got {len(cells)}"
            )
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        rows.append(Row(source, number, row, delimiter == ";"))
    if not rows:
        raise InputError(f"{source}: the table has no rows under its column names")
    return Table(source, columns, header, tuple(rows))


def _records(
    body: str, delimiter: str, source: str, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, strict=True)
    try:
        for record in reader:
            yield reader.line_num + skipped, record
    except csv.Error as error:
        raise InputError(
            f"{source}: line {reader.line_num + skipped}: not valid CSV: {error}"
        ) from None
