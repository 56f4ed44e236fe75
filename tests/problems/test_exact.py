"""Exact numbers: every path agrees with `Decimal` and `Fraction`, whatever the size."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bitwright.problems import ExactColumn, InputError
from bitwright.problems.exact import INT64_SAFE_TOTAL, decimal_digits, exact, plain

from .strategies import many, some

DECADES = st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1e150, 1e150)
SHORT = st.builds(lambda n, k: n / 10**k, st.integers(-(10**16), 10**16), st.integers(0, 13))
TINY = st.builds(Fraction, st.integers(-(10**9), 10**9), st.integers(20, 30).map((10).__pow__))
BEYOND = st.integers(-(2**70), 2**70)


def values(column):
    return [column.value(i) for i in range(len(column))]


def as_written(floats):
    """The slow truth: each float by its shortest decimal."""
    return [Fraction(Decimal(repr(float(x)))) for x in floats]


def test_a_budget_met_to_the_last_decimal_holds():
    """0.1 + 0.2 + 0.3 is not above 0.6, though it is in floats."""
    assert 0.1 + 0.2 + 0.3 > 0.6
    column = ExactColumn.of(np.array([0.1, 0.2, 0.3]))
    assert column.total(np.arange(3)) <= exact(0.6)
    assert exact(0.1) + exact(0.2) + exact(0.3) == exact(Decimal("0.6")) == Fraction(3, 5)


@some
@given(st.lists(DECADES | SHORT, max_size=8))
@example([-0.0, 0.0])
@example([5e-324, 1.7976931348623157e308])
@example([999999999999999.0, 0.5])
@example([0.1 + 0.2, 1e22, 1e23])
def test_columns_of_floats_are_their_shortest_decimals(floats):
    """The path for whole arrays equals `Decimal(repr(x))` for each of them."""
    assert values(ExactColumn.of(np.array(floats, dtype=np.float64))) == as_written(floats)


@pytest.mark.slow
@many
@given(hnp.arrays(np.float64, st.integers(0, 40), elements=DECADES | SHORT))
def test_long_columns_of_floats_are_their_shortest_decimals(floats):
    """The same, over many more arrays."""
    assert values(ExactColumn.of(floats)) == as_written(floats)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@some
@given(st.data())
def test_narrow_floats_count_as_written(kind, data):
    """float32(0.1) means 0.1, not the float64 that it widens to, alone and in arrays."""
    elements = st.floats(-60000, 60000, width=np.finfo(kind).bits)
    array = data.draw(hnp.arrays(kind, st.integers(0, 5), elements=elements))
    written = [Fraction(np.format_float_positional(x, unique=True)) for x in array]
    assert values(ExactColumn.of(array)) == written
    assert [exact(x) for x in array] == written


@some
@given(st.lists(BEYOND, min_size=1, max_size=6))
@example([2**62 // 3] * 3)
@example([2**61, 2**61 - 1])
@example([2**63 - 1] * 4)
@example([-(2**63)] * 2)
def test_sums_never_overflow(integers):
    """Totals near and beyond 2**62 are exact, and int64 is used only where it is safe."""
    column = ExactColumn.of(integers)
    assert column.total(np.arange(len(integers))) == sum(integers)
    safe = max(map(abs, integers)) * len(integers) < INT64_SAFE_TOTAL
    assert column.units.dtype == (np.int64 if safe else object)
    if all(-(2**63) <= n < 2**63 for n in integers):
        assert ExactColumn.of(np.array(integers, dtype=np.int64)) == column
    if all(0 <= n < 2**64 for n in integers):
        assert ExactColumn.of(np.array(integers, dtype=np.uint64)) == column


@some
@given(st.lists(st.decimals(-100, 100, places=19) | TINY | SHORT | BEYOND))
def test_mixed_numbers_keep_every_digit(mixed):
    """Lists of integers, floats, decimals and fractions; the nearest floats follow from them."""
    column = ExactColumn.of(mixed)
    truth = [Fraction(Decimal(repr(v))) if isinstance(v, float) else Fraction(v) for v in mixed]
    assert values(column) == truth
    np.testing.assert_array_equal(column.floats(), [float(v) for v in truth])


@some
@given(st.lists(st.decimals(0, 100, places=4), min_size=1), st.fractions(-200, 200))
def test_a_limit_in_units_rounds_down(decimals, limit):
    """`in_units` is the largest number of units that is not above the limit."""
    column = ExactColumn.of(decimals)
    units, one = column.in_units(limit), Fraction(1, 10**column.digits)
    assert units * one <= limit < (units + 1) * one


def test_the_same_numbers_are_equal_however_written():
    """Trailing zeros, types and dtypes make no difference to equality and hash."""
    twins = [
        ExactColumn.of([Decimal("0.50"), Decimal("2.000")]),
        ExactColumn.of(np.array([0.5, 2.0])),
        ExactColumn.of([Fraction(1, 2), 2]),
        ExactColumn(np.array([500, 2000]), 3),
    ]
    assert len(set(twins)) == 1
    assert ExactColumn.of([0.5, 2, 0]) not in twins
    assert twins[0] != [0.5, 2.0]


def test_empty_columns_and_selections_total_zero():
    """Nothing sums to 0, for every way of giving nothing."""
    for nothing in ([], np.array([]), np.array([], dtype=np.float32), np.array([], dtype=int)):
        column = ExactColumn.of(nothing)
        assert (len(column), column.total(np.array([], dtype=np.int64))) == (0, 0)


def test_the_callers_array_stays_theirs():
    """Reading copies: the caller may go on writing, and the column cannot be written."""
    given_units = np.array([1, 2, 3])
    for column in (ExactColumn.of(given_units), ExactColumn(given_units, 0)):
        assert not np.shares_memory(column.units, given_units)
        with pytest.raises(ValueError, match="read-only"):
            column.units[0] = 9
    assert given_units.flags.writeable


def test_the_users_decimal_context_changes_nothing():
    """A coarse decimal context in the calling program does not round our numbers."""
    with localcontext(prec=2):
        column = ExactColumn.of(np.array([0.1234567890123456, 1e-5]))
        assert column.value(0) == exact(0.1234567890123456)
    assert column.value(0) == Fraction("0.1234567890123456")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "^it must be finite, got nan$"),
        (-math.inf, "^it must be finite, got -inf$"),
        (Decimal("sNaN"), "^it must be finite, got sNaN$"),
        (np.float32("inf"), "^it must be finite, got inf$"),
        (True, "^it must be a number, got True$"),
        (np.True_, "^it must be a number"),
        ("1", "^it must be a number, got '1'$"),
        (None, "^it must be a number, got None$"),
        (1j, "^it must be a number"),
        (Decimal("1e999999999"), r"must be below 1\.8e\+308 .* got 1\.?0*e\+999999999$"),
        (Decimal("-1e-999999999"), "at most 400 decimals, got -1.*e-999999999$"),
        (Decimal("0." + "1" * 100_000), "at most 400 decimals, got 0.111111$"),
        (10**400, r"got 1\.0*e\+400$"),
        (Fraction(10**400, 3), r"got 3\.3*e\+399$"),
        (Decimal("1.8e308"), r"got 1\.8.*e\+308$"),
    ],
)
def test_what_is_no_usable_number_is_refused(value, message):
    """Neither NaN nor infinity nor a boolean, and nothing beyond floats, which also bounds the work."""
    with pytest.raises(InputError, match=message):
        exact(value, "it")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.array([1.0, np.nan]), r"ms\[1\] must be finite, got nan"),
        (np.array([0.1, np.inf], dtype=np.float32), r"ms\[1\] must be finite, got inf"),
        ([1, None], r"ms\[1\] must be a number, got None"),
        ([0, Fraction(1, 3)], r"ms\[1\] must have a finite decimal form, got 1/3"),
        (np.array([True]), r"ms\[0\] must be a number"),
        (np.ones((2, 3)), r"ms must be a list of numbers, got the shape \(2, 3\)"),
        (np.ones((2, 1), dtype=int), r"ms must be a list of numbers, got the shape \(2, 1\)"),
    ],
)
def test_bad_columns_name_the_first_bad_place(column, message):
    """The message has name, index, rule and value."""
    with pytest.raises(InputError, match=message):
        ExactColumn.of(column, "ms")


@some
@given(st.integers(-(10**9), 10**9), st.integers(0, 30))
def test_decimal_digits_are_the_fewest_that_write_the_value(numerator, digits):
    """Scaling by 10**digits gives an integer, and by one power less does not."""
    value = Fraction(numerator, 10**digits)
    fewest = decimal_digits(value)
    assert (value * 10**fewest).denominator == 1
    assert fewest == 0 or (value * 10 ** (fewest - 1)).denominator > 1


def test_plain_numbers_are_integers_where_they_can_be():
    """Whole values stay Python integers of any size, others become the nearest float."""
    assert [plain(Fraction(n)) for n in (3, 10**30)] == [3, 10**30]
    assert isinstance(plain(Fraction(3)), int)
    assert plain(Fraction(1, 3)) == 1 / 3


def test_a_column_is_readable():
    """A few numbers are shown, not thousands."""
    assert repr(ExactColumn.of([0.5, 2])) == "ExactColumn([0.5, 2])"
    assert repr(ExactColumn.of(np.arange(9))) == "ExactColumn([0, 1, 2, 3, 4, 5, ...])"
