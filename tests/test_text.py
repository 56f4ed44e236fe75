"""Text for people: widths as a terminal counts them, nothing that could harm one."""

from __future__ import annotations

import pytest

from bitwright import text
from bitwright.text import duration, figure, printable, share, shortened, text_table, wrapped


def test_columns_stand_below_each_other():
    """The first column is to the left, others to the right, counting wide and combining characters."""
    rows = [["漢字", "1"], ["e\u0301a", "12,345"], ["ab\ncd", "x"]]
    lines = text_table(["name", "n"], rows).splitlines()
    assert lines == [
        "name         n",
        "------  ------",
        "漢字         1",
        "e\u0301a      12,345",
        "ab\\ncd       x",
    ]


@pytest.mark.parametrize("widest", [20, 30, 40, 200, None])
def test_tables_fit_as_far_as_names_stay_readable(widest):
    """A long name loses its middle, never below 20 columns, and short ones are left alone."""
    name = "backbone.features.12.block.conv1"
    lines = text_table(["layer", "bits"], [[name, "w8a8"], ["fc", "w4a4"]], widest).splitlines()
    shown = lines[2].split()[0]
    assert len(lines[2]) <= max(widest or 200, 20 + 6)
    assert (shown == name) == (widest is None or widest >= len(name) + 6)
    assert shown.startswith(name[:6])
    assert shown.endswith(name[-6:])
    assert lines[3].split() == ["fc", "w4a4"]


@pytest.mark.parametrize("width", [5, 6, 7, 16, 17])
@pytest.mark.parametrize("name", ["abcdefghijklmnopqrstuvwxyz", "漢字漢字漢字漢字漢字漢字"])
def test_a_shortened_name_fits(name, width):
    """A shortened name keeps its ends and takes at most the width."""
    shown = shortened(name, width)
    assert sum(1 + (c > "\u2000") for c in shown) <= width
    start, end = shown.split("...")
    assert name.startswith(start)
    assert name.endswith(end)


def test_what_is_escaped():
    """Control characters, line ends, directions and halves of characters; letters of all scripts stay."""
    assert printable("a\x1b[2J\r\n\u202e\ud800") == "a\\x1b[2J\\r\\n\\u202e\\ud800"
    assert printable("größe 漢字 😀 \\ '") == "größe 漢字 😀 \\ '"


def test_paragraphs_fit_the_terminal(monkeypatch):
    """Lines are as long as the terminal is wide, of 100 columns at most; no word is lost or broken."""
    words = "budget 'size_bytes' = 15 cannot be met: " * 8
    for columns, longest in ((40, 40), (300, 100), (None, 100)):
        monkeypatch.setattr(text, "terminal_width", lambda columns=columns: columns)
        lines = wrapped(words, "  ").splitlines()
        assert max(map(len, lines)) <= longest
        assert " ".join(lines).split() == words.split()
        assert all(line.startswith("  ") for line in lines)


def test_figures():
    """Integers in full, shares that never round up to all, seconds in three digits."""
    assert [figure(v) for v in (1234567, 0.1234567, 123456.7, 1e20)] == ["1,234,567", "0.123457", "123,457", "1e+20"]  # fmt: skip
    assert [share(a, b) for a, b in ((1, 1), (0, 5), (2**62 - 1, 2**62), (0, 0))] == ["100.0 %", "0.0 %", "99.9 %", "-"]  # fmt: skip
    assert [duration(s) for s in (0.012345, 12.345, 12345.6)] == ["0.0123 s", "12.3 s", "12,346 s"]
