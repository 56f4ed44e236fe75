"""Tables as spreadsheets write them, and which line explains what is no table."""

import csv
import io
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import InputError
from bitwright.problems.formats.table_csv import parse_table, read_table

from ..strategies import some

CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5).map(str.strip)


@some
@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1), st.sampled_from(",;\t"))
def test_any_cell_reads_back(rows, delimiter):
    """Quotes, delimiters and every script survive; blank rows do not count."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows([["x", "y", "z"], *rows])
    if not any(cell for row in rows for cell in row):
        with pytest.raises(InputError, match="no rows under its column names"):
            parse_table(out.getvalue(), "file")
        return
    read = parse_table(out.getvalue(), "file").rows
    assert [list(r.cells.values()) for r in read] == [row for row in rows if any(row)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_on_top_are_the_header(end):
    """`# key: value` lines give a dictionary, and line numbers still count from the file's top."""
    text = end.join(["# device: board: 2", "", "#repeats:40", "a,b", "1,2", "", '3,"4"'])
    table = parse_table(text, "file")
    assert table.header == {"device": "board: 2", "repeats": "40"}
    assert (table.columns, [row.line for row in table.rows]) == (("a", "b"), [5, 7])


@pytest.mark.parametrize(
    ("cell", "value"),
    [("8", "8"), ("8.0", "8"), ("1.5E+03", "1500"), ("-0.10", "-0.1"), (" 7 ", "7"), (".5", "0.5")],
)
def test_numbers_are_exact_decimals(cell, value):
    """As spreadsheets print them, with and without exponent."""
    row = parse_table(f"a;b\n{cell};{cell.replace('.', ',')}", "file").rows[0]
    assert row.number("a") == Decimal(value)
    if cell != ".5":
        assert row.number("b") == Decimal(value)


def test_whole_numbers_are_integers():
    """8.0 counts as 8, and 8.5 is refused."""
    row = parse_table("a,b\n8.0,8.5", "file").rows[0]
    assert row.integer("a") == 8
    assert isinstance(row.integer("a"), int)
    with pytest.raises(InputError, match=r"^file: line 2: b must be an integer, got '8\.5'$"):
        row.integer("b")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", "must be a number, got ''"),
        ("x", "must be a number, got 'x'"),
        ("1_000", "must be a number, got '1_000'"),
        ('"1,5"', "must be a number, got '1,5'"),
        ("nan", "must be finite, got 'nan'"),
        ("-Infinity", "must be finite, got '-Infinity'"),
        ("1e99999999999999999999", "must be a number"),
        ("1e999999999", r"must be below 1\.8e\+308 .* got 1.*e\+999999999"),
    ],
)
def test_bad_numbers_name_line_column_and_value(cell, message):
    """Every cell's error says where it stands; huge exponents take no time."""
    row = parse_table(f"a,b\n{cell},1", "file").rows[0]
    with pytest.raises(InputError, match=f"^file: line 2: a {message}"):
        row.integer("a")


def test_empty_text_is_refused():
    """A cell that must hold text is named."""
    with pytest.raises(InputError, match=r"^file: line 2: a must not be empty, got ''"):
        parse_table("a,b\n,1", "file").rows[0].text("a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty; its first row must name the columns"),
        ("\n# device: x\n", "the table is empty"),
        ("a,b\n", "the table has no rows under its column names"),
        ("a,b\n,\n", "the table has no rows under its column names"),
        ("a,a\n1,2", "column 'a' is given twice"),
        ("a,b\n1,2\n\n3", "line 4: 2 cells expected, got 1"),
        ("a,b\n1,2,3", "line 2: 2 cells expected, got 3"),
        ('a,b\n1,"2', "line 2: not valid CSV: unexpected end of data"),
        ('a,b\n1,"2"x', "line 2: not valid CSV:"),
        (f"a,b\n1,{'x' * 200_000}", "line 2: not valid CSV: field larger than field limit"),
    ],
)
def test_what_is_no_table_is_refused(text, message):
    """Each mistake has its line."""
    with pytest.raises(InputError, match="^file: " + re.escape(message)):
        parse_table(text, "file")


def test_missing_columns_name_the_nearest():
    """A mistyped column is found by the one that is required."""
    with pytest.raises(
        InputError, match="column 'weight_bits' is missing; did you mean 'wieght_bits'"
    ):
        parse_table("layer,wieght_bits\nx,1", "file").require(["layer", "weight_bits"])


def test_files_in_other_encodings_are_refused(tmp_path):
    """UTF-16, as some spreadsheets save, is named for what it is not."""
    path = tmp_path / "t.csv"
    path.write_bytes("a,b\n1,2".encode("utf-16"))
    with pytest.raises(InputError, match=r"t\.csv: not UTF-8 text \(byte 0\)"):
        read_table(path)


def test_what_spreadsheets_pad_is_ignored():
    """Header lines quoted and padded to the table's width, and blank cells behind it, are no content."""
    text = '"# device: board; rev 2";;;\n# date: 2026-01-01;;;\nlayer;bits;ms;\nconv1;8;0,5;\n;;;\n'
    table = parse_table(text, "t.csv")
    assert table.columns == ("layer", "bits", "ms")
    assert table.header == {"device": "board; rev 2", "date": "2026-01-01"}
    assert [row.number("ms") for row in table.rows] == [Decimal("0.5")]
