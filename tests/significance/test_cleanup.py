"""The clean-up of scores before solving."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bitwright.problems import FLOAT32, Precision
from bitwright.significance import clean_up

PRECISIONS = (
    *(Precision(w, a, variant) for w in (2, 4, 8) for a in (4, 8) for variant in ("", "svd")),
    Precision(16, 16, "float"),
    FLOAT32,
)

scores = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.just(len(PRECISIONS))),
    elements=st.one_of(st.floats(-1, 1), st.just(math.nan)),
)


def cleaned_slowly(row):
    """The rule, one pair of precisions at a time."""
    cleaned = []
    for more, score in zip(PRECISIONS, row, strict=True):
        best = math.nan if math.isnan(score) else max(score, 0.0)
        for fewer, other in zip(PRECISIONS, row, strict=True):
            has_fewer = more == FLOAT32 or (
                fewer.variant == more.variant
                and fewer.weight_bits <= more.weight_bits
                and fewer.activation_bits <= more.activation_bits
            )
            if has_fewer and max(other, 0.0) < best:
                best = max(other, 0.0)
        cleaned.append(best)
    return cleaned


@given(scores)
def test_equals_the_slow_twin(table):
    """The cleaned scores are those of a loop over pairs, and the changes are where they differ."""
    before = table.copy()
    cleaned, changed = clean_up(table, PRECISIONS)
    np.testing.assert_array_equal(cleaned, [cleaned_slowly(row) for row in table])
    np.testing.assert_array_equal(changed, (cleaned != table) & ~np.isnan(table))
    np.testing.assert_array_equal(table, before)


@given(scores)
def test_cleaning_twice_changes_nothing(table):
    """Clean scores stay as they are, bit for bit."""
    once, _ = clean_up(table, PRECISIONS)
    twice, changed = clean_up(once, PRECISIONS)
    np.testing.assert_array_equal(twice, once)
    assert not changed.any()


def test_one_side_is_a_running_minimum():
    """With equal activation bits it is the running minimum over weight bits."""
    row = np.array([[0.5, 0.2, 0.3, -0.1, 0.05]])
    precisions = [Precision(w, 8) for w in (2, 3, 4, 6, 8)]
    cleaned, _ = clean_up(row, precisions)
    np.testing.assert_array_equal(cleaned, np.minimum.accumulate(np.maximum(row, 0), axis=1))


def test_more_on_one_side_and_less_on_the_other_is_no_order():
    """w2a8 and w4a4 do not bound each other."""
    table = np.array([[0.1, 0.9]])
    for precisions in ((Precision(2, 8), Precision(4, 4)), (Precision(4, 4), Precision(2, 8))):
        cleaned, changed = clean_up(table, precisions)
        np.testing.assert_array_equal(cleaned, table)
        assert not changed.any()
