"""Written tables read back as they were, or are not written."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.cost_models import CostTable
from bitwright.cost_models.tables import CostRow, read_cost_table, write_cost_table
from bitwright.problems import FLOAT32, InputError
from bitwright.problems.operation import OperationKey, operation_key

from ...problems.strategies import precisions, some
from .boards import W4A8, W8A8, conv

A = operation_key(conv("a", 3, 8, 6))
sizes = st.integers(1, 2**31 - 1)
text = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
keys = st.builds(OperationKey, text, *[sizes] * 8)
amounts = st.decimals(0, 10**9, places=3) | st.integers(0, 10**20) | st.floats(0, 1e9)
COSTS = ("latency_us", "energy_uj")


@st.composite
def tables(draw):
    """Rows of one kind with one or two costs, and a head."""
    costs = COSTS[: draw(st.integers(1, 2))]
    some_of = st.dictionaries(st.sampled_from(costs), amounts)
    all_of = st.fixed_dictionaries(dict.fromkeys(costs, amounts))
    rows = draw(
        st.lists(
            st.builds(CostRow, draw(st.sampled_from([keys, text])), precisions, all_of, some_of, some_of, text | st.just("")),
            min_size=1,
            max_size=5,
            unique_by=lambda row: (row.key, row.precision),
        )
    )  # fmt: skip
    words = st.text(
        st.characters(exclude_categories=["C", "Z"], exclude_characters=":,"), max_size=6
    )
    return rows, draw(st.dictionaries(words.filter(bool), words, max_size=3))


@some
@given(tables())
def test_what_is_written_reads_back(tmp_path_factory, table):
    """Rows with any printed text, amounts to the last digit, medians, spreads and head survive."""
    rows, head = table
    path = tmp_path_factory.getbasetemp() / "written.csv"
    write_cost_table(path, rows, head)
    back = read_cost_table(path)
    assert (back.header, back.rows) == (head, tuple(rows))


def test_a_written_table_is_a_cost_model(tmp_path):
    """Amounts come out of the cost model as they were put in, by layer and by operation."""
    layer, path = conv("a", 3, 8, 6), tmp_path / "deep" / "t.csv"
    for key in (A, "a"):
        row = CostRow(key, W8A8, {"latency_us": 0.1}, spreads={"latency_us": Decimal("0.02")})
        write_cost_table(path, [row], {"device": 'a "board", new', "overhead_us": Fraction(5, 4)})
        table = CostTable(file=path, end_to_end=True)
        assert table.provenance == {"device": 'a "board", new', "overhead_us": "1.25"}
        assert table.cost(layer, W8A8) == Decimal("0.1")
        assert table.source(layer, W8A8).spread == Decimal("0.02")
        assert table.prediction.overhead == Decimal("1.25")


def test_empty_columns_are_left_out(tmp_path):
    """Without variants, medians, spreads and types there is no column for them."""
    path = tmp_path / "t.csv"
    write_cost_table(
        path, [CostRow("a", W8A8, {"latency_us": 2}), CostRow("a", FLOAT32, {"latency_us": 9})]
    )
    assert path.read_text() == "layer,weight_bits,activation_bits,latency_us\na,8,8,2\na,32,32,9\n"


ONE = CostRow("a", W8A8, {"latency_us": 1})
REFUSED = {
    "no row": ([], {}, "needs one row or more"),
    "both kinds": (
        [ONE, CostRow(A, W8A8, {"latency_us": 1})],
        {},
        "either by layer or by operation",
    ),
    "other costs": (
        [ONE, CostRow("b", W8A8, {"energy_uj": 1})],
        {},
        "have the same costs; b at w8a8",
    ),
    "twice": ([ONE, ONE], {}, "layer 'a' at w8a8 is given twice"),
    "head ends in a comma": ([ONE], {"device": "x,"}, "header line 'device' cannot be written"),
    "head of two lines": (
        [ONE],
        {"device": "a\nb"},
        "header line 'device' cannot be written as 'a",
    ),
    "key of the head": ([ONE], {"a:b": "c"}, "header line 'a:b' cannot be written"),
    "no decimal": (
        [CostRow("a", W8A8, {"latency_us": Fraction(1, 3)})],
        {},
        "must have a finite decimal form, got 1/3",
    ),
    "blanks around a name": (
        [CostRow(" a", W8A8, {"latency_us": 1})],
        {},
        "the row of ' a' would not be read back",
    ),
}


@pytest.mark.parametrize(("rows", "head", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_not_read_back_is_not_written(tmp_path, rows, head, message):
    """The error names file and row, and an older file stays as it was."""
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(InputError, match=message) as caught:
        write_cost_table(path, rows, head)
    assert str(caught.value).startswith(str(path))
    assert path.read_text() == "old"


BAD_ROWS = {
    "no cost": (("a", W8A8, {}), {}, "the row of a at w8a8 has no cost"),
    "no key": (("", W8A8, {"latency_us": 1}), {}, "needs a layer or an operation"),
    "negative": (
        ("a", W4A8, {"latency_us": -1}),
        {},
        "latency_us of a at w4a8 must not be negative",
    ),
    "infinite": (("a", W4A8, {"latency_us": float("inf")}), {}, "must be finite"),
    "spread of nothing": (
        ("a", W4A8, {"latency_us": 1}),
        {"spreads": {"latency_ms": 1}},
        "latency_ms of a at w4a8 stands among its spreads without a cost",
    ),
    "cost named as a spread": (("a", W4A8, {"us_spread": 1}), {}, "must not be named 'us_spread'"),
}


@pytest.mark.parametrize(("given", "more", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_row_is_checked_at_birth(given, more, message):
    """Amounts are finite and not negative, and medians and spreads belong to a cost."""
    with pytest.raises(InputError, match=message):
        CostRow(*given, **more)
