"""Plain text for people: tables, figures, and names that can do no harm to a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_LARGE, _HUGE = 1e5, 1e15
_LINE = 100
_SHORTEST_NAME = 20


def text_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], widest: int | None = None
) -> str:
    """Lay out a table with the first column to the left and all others to the right.

    Control characters are escaped. Where the table is wider than `widest`, the names of the first
    column lose their middles, as far as they stay readable.
    """
    cells = [[printable(cell) for cell in row] for row in (head, *rows)]
    widths = [max(_width(cell) for cell in column) for column in zip(*cells, strict=True)]
    if widest is not None and cells:
        others = sum(widths[1:]) + 2 * (len(widths) - 1)
        widths[0] = min(widths[0], max(widest - others, _SHORTEST_NAME))
        cells = [[shortened(row[0], widths[0]), *row[1:]] for row in cells]

    def line(row: Sequence[str]) -> str:
        first, *others = zip(row, widths, strict=True)
        padded = [_gap(*first, left=False), *(_gap(*other, left=True) for other in others)]
        return "  ".join(padded).rstrip()

    return "\n".join([line(cells[0]), line(["-" * w for w in widths]), *map(line, cells[1:])])


def _gap(cell: str, width: int, left: bool) -> str:
    spaces = " " * (width - _width(cell))
    return spaces + cell if left else cell + spaces


def _width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def printable(text: str) -> str:
    r"""The text with control characters, line ends and the like escaped.

    >>> printable("conv\x1b[31m1\n")
    'conv\\x1b[31m1\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shortened(text: str, width: int) -> str:
    """The text with its middle left out where it takes more than `width` columns.

    >>> shortened("features.12.block.conv1", 16)
    'feature...conv1'
    """
    if _width(text) <= width:
        return text
    start, end = text[: width // 2 - 1], text[-(width - width // 2 - 2) :]
    while _width(start) + _width(end) + 3 > width and start and end:
        start, end = start[:-1], end[1:]
    return f"{start}...{end}"


def wrapped(text: str, indent: str = "") -> str:
    """A paragraph in lines that fit the terminal, of 100 columns at most; no word is broken."""
    width = min(terminal_width() or _LINE, _LINE)
    return textwrap.fill(
        printable(text),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is, None where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def figure(value: float) -> str:
    """A figure for people: integers in full, large ones rounded to them, others to six digits."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if _LARGE <= abs(value) < _HUGE else f"{value:.6g}"


def counted(words: Iterable[str]) -> str:
    """How many there are of each word, the most common first.

    >>> counted(["int8", "float32", "int8"])
    '2 as int8, 1 as float32'
    """
    return ", ".join(f"{count} as {word}" for word, count in Counter(words).most_common())


def share(part: float, whole: float) -> str:
    """A part in percent of a positive whole; 100.0 % is said of the whole alone.

    >>> share(99_999, 100_000), share(1, 8), share(0, 0)
    ('99.9 %', '12.5 %', '-')
    """
    if not whole > 0:
        return "-"
    percent = 100 * part / whole
    return f"{min(percent, 99.9) if part < whole else percent:.1f} %"


def duration(seconds: float) -> str:
    """Seconds in three digits."""
    return f"{seconds:,.0f} s" if seconds >= 1000 else f"{seconds:.3g} s"
