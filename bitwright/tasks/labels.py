"""The table of labels beside a folder of images: which file shows what, and in which split."""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bitwright.problems.errors import InputError, nearest
from bitwright.tasks.splitting import STORED_SPLITS

REQUIRED_COLUMNS = ("file", "class")


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """An image file, named as `class/file.jpg` within its folder, with its class and its split.

    `split` is None where none is given and one is to be drawn.
    """

    file: str
    label: str
    split: str | None = None


def read_labels(path: Path) -> list[LabelledFile]:
    """Read a CSV with the columns `file`, `class` and, optionally, `split`, in any order.

    Other columns are ignored; a byte order mark is tolerated. Files are looked up as written, up to
    a leading `./`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, skipinitialspace=True)
            table = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"labels '{path}' cannot be read: {error}") from error
    if not table:
        raise InputError(f"labels '{path}' are empty; a header and one row per image are needed")
    header = [name.strip() for name in table[0][1]]
    _check_header(path, header)
    if len(table) == 1:
        raise InputError(f"labels '{path}' hold no rows below the header")
    files: list[LabelledFile] = []
    lines: dict[str, int] = {}
    for line, row in table[1:]:
        if len(row) != len(header):
            raise InputError(
                f"labels '{path}', line {line}: {len(header)} fields are expected, got {len(row)}"
            )
        labelled = _labelled(dict(zip(header, row, strict=True)), f"labels '{path}', line {line}")
        if labelled.file in lines:
            raise InputError(
                f"labels '{path}', line {line}: file {labelled.file!r} is already on line "
                f"{lines[labelled.file]}; one row per file is allowed"
            )
        lines[labelled.file] = line
        files.append(labelled)
    return files


def _check_header(path: Path, header: list[str]) -> None:
    for column in REQUIRED_COLUMNS:
        if column not in header:
            raise InputError(f"labels '{path}' has no column {column!r}; {nearest(column, header)}")
    for column in (*REQUIRED_COLUMNS, "split"):
        if header.count(column) > 1:
            raise InputError(f"labels '{path}' has the column {column!r} twice")
    # A misspelt optional column must not turn a given split into a drawn one.
    if "split" not in header and (close := difflib.get_close_matches("split", header, n=1)):
        raise InputError(f"labels '{path}' has a column {close[0]!r}; did you mean 'split'?")


def _labelled(row: dict[str, str], where: str) -> LabelledFile:
    for column in REQUIRED_COLUMNS:
        if not row[column]:
            raise InputError(f"{where}: {column!r} must not be empty")
    split = row.get("split")
    if split is not None and split not in STORED_SPLITS:
        raise InputError(f"{where}: split {split!r} is unknown; {nearest(split, STORED_SPLITS)}")
    return LabelledFile(str(PurePosixPath(row["file"])), row["class"], split)
