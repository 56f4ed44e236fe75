"""Plain text for people: tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

_LARGE, _HUGE = 1e5, 1e15


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table with the first column to the left and all others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in others)]).rstrip()

    return "\n".join([line(head), line(["-" * w for w in widths]), *(line(row) for row in rows)])


def figure(value: float) -> str:
    """A figure for people: integers in full, large ones rounded to them, others to six digits."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if _LARGE <= abs(value) < _HUGE else f"{value:.6g}"
