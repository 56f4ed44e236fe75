"""Tables as spreadsheets write them: any column order, `,` `;` or tab, with or without BOM."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.exact import exact
from bitwright.problems.formats.json_text import naming, read_text

_DELIMITERS = ",;\t"
_SHOWN = 80
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
        cell = self.cells.get(column) or ""
        shown = repr(cell) if len(cell) <= _SHOWN else f"{cell[:_SHOWN]!r}... ({len(cell)} long)"
        raise InputError(f"{self.source}: line {self.line}: {column} {rule}, got {shown}")

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


def read_table(path: str | Path, *, largest_bytes: int | None = None) -> Table:
    """Read a CSV file; raises `InputError` for an empty, ragged, badly encoded or too large one."""
    return parse_table(read_text(path, largest_bytes=largest_bytes), str(path))


def parse_table(text: str, source: str) -> Table:
    """Read CSV text; `source` names it in errors.

    Spreadsheets pad every line to the widest one: blank cells behind the last column are ignored.
    """
    delimiter = _delimiter(text)
    header: dict[str, str] = {}
    columns: tuple[str, ...] = ()
    rows = []
    for number, record in _records(text, delimiter, source):
        cells = [cell.strip() for cell in record]
        while cells and not cells[-1] and len(cells) > len(columns):
            cells.pop()
        if not any(cells):
            continue
        if not columns and cells[0].startswith("#"):
            line = delimiter.join(record).rstrip(f"{delimiter} ").lstrip()
            key, _, value = line[1:].partition(":")
            header[key.strip()] = value.strip()
        elif not columns:
            columns = _named(cells, source)
        elif len(cells) != len(columns):
            hint = "; is the name of a column missing?" if len(cells) > len(columns) else ""
            raise InputError(
                f"{source}: line {number}: {len(columns)} cells expected, got {len(cells)}{hint}"
            )
        else:
            rows.append(
                Row(source, number, dict(zip(columns, cells, strict=True)), delimiter == ";")
            )
    if not columns:
        raise InputError(f"{source}: the table is empty; its first row must name the columns")
    if not rows:
        raise InputError(f"{source}: the table has no rows under its column names")
    return Table(source, columns, header, tuple(rows))


def _delimiter(text: str) -> str:
    """The delimiter that the row of column names uses most."""
    lines = (line for line in text.splitlines() if line.strip(f'{_DELIMITERS} "'))
    names = next((line for line in lines if not line.lstrip(' "').startswith("#")), "")
    return max(_DELIMITERS, key=names.count)


def _named(names: list[str], source: str) -> tuple[str, ...]:
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{source}: column {name!r} is given twice")
    return tuple(names)


def _records(text: str, delimiter: str, source: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for record in reader:
            yield reader.line_num, record
    except csv.Error as error:
        raise InputError(f"{source}: line {reader.line_num}: not valid CSV: {error}") from None
