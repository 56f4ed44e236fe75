"""Reading the files of other tools: of bounded size, and broken ones said in one line."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

from bitwright.problems.errors import InputError
from bitwright.problems.exact import exact
from bitwright.problems.formats.json_text import LARGEST_BYTES, Place, naming, read_text


def read_profile_text(path: str | Path) -> str:
    """The text of a file of at most `LARGEST_BYTES`; raises `InputError`."""
    text = read_text(path, largest_bytes=LARGEST_BYTES)
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}: line {line}: a zero byte, which no text has")
    return text


def time_of(place: Place, unit_us: int) -> Fraction:
    """A time that is not negative, in microseconds; `unit_us` of them are one unit of the file."""
    value = place.exact()
    if value < 0:
        place.fail(f"must not be negative, got {float(value):g}")
    return value * unit_us


def cell_time(text: str, source: str, line: int, column: str, unit_us: int) -> Fraction:
    """A cell of a table as a time that is not negative, in microseconds."""
    where = f"{source}: line {line}: {column}"
    try:
        value = Decimal(text.strip().replace("_", "?"))  # Decimal, no tool, reads 1_000
    except InvalidOperation:
        raise InputError(f"{where} must be a number, got {text[:60]!r}") from None
    with naming(source, f"line {line}"):
        number = exact(value, column)
    if number < 0:
        raise InputError(f"{where} must not be negative, got {text[:60]!r}")
    return number * unit_us
