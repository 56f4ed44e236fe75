"""Problems as tables: what spreadsheets do to them, round trips, and what they cannot hold."""

import csv
import io
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import InputError, Precision, Tie
from bitwright.problems.formats import read_problem, write_problem

from ..strategies import build, documents, some
from .documents import FULL_PROBLEM, choice, read_or_refuse
from .test_problem_json import at

PLAIN = """\
layer,weight_bits,activation_bits,loss,variant,tie,size_bits,latency_ms
conv1,4,4,0.5,,,147456,0.21
conv1,8,8,0.25,svd-32,,294912,0.42
"a,b",8,8,1.5E+03,,first,1000,1500
fc,8,8,-1e-3,,first,20,0.001
"""


def cells(text=PLAIN):
    return list(csv.reader(io.StringIO(text)))


def joined(rows, delimiter=",", end="\n", quoting=csv.QUOTE_MINIMAL):
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    return out.getvalue()


def german(rows):
    return [[c.replace(".", ",") for c in row] if i else row for i, row in enumerate(rows)]


AS_SPREADSHEETS_WRITE = {
    "byte order mark": "\ufeff" + PLAIN,
    "windows": joined(cells(), end="\r\n"),
    "old mac": joined(cells(), end="\r"),
    "quoted": joined(cells(), quoting=csv.QUOTE_ALL),
    "semicolons": joined(cells(), ";"),
    "decimal commas": joined(german(cells()), ";"),
    "tabs": joined(cells(), "\t"),
    "shuffled columns": joined([row[::-1] for row in cells()]),
    "blank lines": "\n" + PLAIN.replace("\n", "\n\n") + ",,,,,,,\n",
    "whole floats": PLAIN.replace(",8,8,", ",8.0,8.00,"),
    "exponents": PLAIN.replace("294912", "2.94912E+05"),
    "spaces": PLAIN.replace("fc,8", " fc , 8 "),
    "comments": "# made by: hand\n" + PLAIN,
    "no last line end": PLAIN.rstrip(),
}


def put(tmp_path, content):
    path = tmp_path / "net.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_table_means_what_it_says(tmp_path):
    """Rows are choices, the file names the problem, labels tie, and decimals are exact."""
    problem = read_problem(put(tmp_path, PLAIN))
    assert (problem.name, problem.layers) == ("net", ("conv1", "a,b", "fc"))
    assert problem.precision(1) == Precision(8, 8, "svd-32")
    assert problem.loss.tolist() == [0.5, 0.25, 1500, -0.001]
    assert problem.ties == (Tie(("a,b", "fc")),)
    assert problem.cost_names == ("size_bits", "latency_ms")
    assert problem.evaluate([0, 2, 3]).costs["latency_ms"] == Fraction("1500.211")


@pytest.mark.parametrize("name", AS_SPREADSHEETS_WRITE)
def test_whatever_a_spreadsheet_writes_is_the_same_problem(tmp_path, name):
    """Delimiters, decimal commas, line ends, quotes, order of columns and blanks make no difference."""
    plain = read_problem(put(tmp_path, PLAIN))
    assert read_problem(put(tmp_path, AS_SPREADSHEETS_WRITE[name])) == plain


@some
@given(documents(terms=False), st.randoms())
def test_what_is_written_reads_back_equal(tmp_path, document, random):
    """Layers, choices, variants, ties and every digit survive, in any order of columns."""
    problem = build({**document, "name": "net"})
    path = tmp_path / "net.csv"
    write_problem(problem, path)
    assert read_problem(path) == problem
    rows = cells(path.read_text())
    order = random.sample(range(len(rows[0])), len(rows[0]))
    assert read_problem(put(tmp_path, joined([[r[k] for k in order] for r in rows]))) == problem


def test_rows_of_a_layer_need_not_stand_together(tmp_path):
    """Layers stand in the order of their first row."""
    lines = PLAIN.splitlines()
    moved = "\n".join([lines[0], lines[1], *lines[3:], lines[2]])
    assert read_problem(put(tmp_path, moved)) == read_problem(put(tmp_path, PLAIN))


def test_optional_columns_may_be_missing(tmp_path):
    """Without variant, tie and costs four columns are enough."""
    head = "layer,weight_bits,activation_bits,loss"
    problem = read_problem(put(tmp_path, f"{head}\na,4,8,0.5"))
    assert (problem.precision(0), problem.cost_names, problem.ties) == (Precision(4, 8), (), ())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("loss,", "lose,", "column 'loss' is missing; did you mean 'lose'"),
        ("latency_ms", " ", "is the name of a column missing"),
        ("latency_ms", "Variant", "column 'Variant' is no cost; did you mean 'variant'"),
        ("latency_ms", "ties", "column 'ties' is no cost; did you mean 'tie'"),
        ("conv1,4,4,0.5", ",4,4,0.5", "line 2: layer must not be empty"),
        ("conv1,4,4", "conv1,4.5,4", "line 2: weight_bits must be an integer, got '4.5'"),
        ("conv1,4,4", "conv1,0,4", "line 2: weight_bits must be an integer from 1 to 32, got 0"),
        ("conv1,4,4", "conv1,1e999999999,4", "line 2: weight_bits must be below"),
        ("0.25,svd-32", "0.25,svd 32", "line 3: variant must be a short label"),
        ("0.25,", "inf,", "line 3: loss must be finite, got 'inf'"),
        ("0.25,", "1e999,", "layer 'conv1', choice w8a8-svd-32: loss must be finite"),
        ("294912", "-1", "cost 'size_bits' must not be negative, got -1"),
        ("294912", "", "line 3: size_bits must be a number, got ''"),
        (
            "294912",
            "1e999999999",
            "layer 'conv1', choice w8a8-svd-32: cost 'size_bits' must be below",
        ),
        ("0.25,svd-32,,", "0.25,svd-32,x,", "line 3: tie must be the same in every row of layer"),
        ("conv1,8,8,0.25,svd-32", "conv1,4,4,0.25,", "layer 'conv1', choice w4a4 is given twice"),
        ("fc,8,8", "fc,4,4", "tied layers ['a,b', 'fc'] (side 'all') have no common choice"),
    ],
)
def test_bad_tables_are_named_by_file_line_and_rule(tmp_path, old, new, message):
    """One line: file, place, rule, value."""
    path = put(tmp_path, PLAIN.replace(old, new, 1))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_problem(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_cut_table_is_no_surprise(tmp_path):
    """Cut anywhere, a table is refused in one line or ends at a whole row."""
    for stop in range(len(PLAIN)):
        path = put(tmp_path, PLAIN[:stop])
        problem = read_or_refuse(read_problem, path)
        assert problem is None or set(problem.layers) <= {"conv1", "a,b", "fc"}


@some
@given(st.data())
def test_damaged_bytes_are_no_surprise(tmp_path, data):
    """Bytes changed at random give a problem or one line that names the file."""
    content = bytearray(PLAIN.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at_byte = data.draw(st.integers(0, len(content) - 1))
        content[at_byte : at_byte + 1] = data.draw(st.binary(max_size=3))
    read_or_refuse(read_problem, put(tmp_path, bytes(content)))


SIMPLE = {"name": "full", "layers": [{"name": n, "choices": [choice(4), choice(8)]} for n in "abc"]}
PAIR = {"layers": ["a", "b"], "side": "all"}
CANNOT_HOLD = {
    "budgets": {"budgets": {"size_bits": 1}},
    "fixed costs": {"fixed_costs": {"size_bits": 1}},
    "interactions": {"interactions": FULL_PROBLEM["interactions"]},
    "peaks": {"peaks": FULL_PROBLEM["peaks"]},
    "channel ranges": {"layers": FULL_PROBLEM["layers"]},
    "ties of one side": {"ties": FULL_PROBLEM["ties"]},
}


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
@pytest.mark.parametrize("what", CANNOT_HOLD)
def test_what_arrays_and_tables_cannot_hold_is_refused(tmp_path, suffix, what):
    """Nothing is dropped in silence: the part is named, and no file is written."""
    problem = build({**SIMPLE, **CANNOT_HOLD[what]})
    with pytest.raises(InputError, match=f"problem 'full': .* cannot hold {what}; write JSON"):
        write_problem(problem, tmp_path / f"p{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("ties",), [PAIR, {**PAIR, "layers": ["b", "c"]}], "ties that share a layer"),
        (("layers", 0, "name"), " a", "the name ' a'"),
        (("layers", 0, "name"), "a\rb", r"the name 'a\rb'"),
        (
            ("layers",),
            [{"name": "a", "choices": [choice(4, costs={"tie": 1})]}],
            "a cost named 'tie'",
        ),
    ],
)
def test_names_that_a_table_would_change_are_refused(tmp_path, path, value, message):
    """Spaces at the ends, line breaks, and costs named like a column."""
    document = at(SIMPLE, path, value)
    with pytest.raises(InputError, match=f"a CSV table cannot hold {re.escape(message)}"):
        write_problem(build(document), tmp_path / "p.csv")
