"""Significance tables: shapes, and whose arrays they are."""

import re

import numpy as np
import pytest

from bitwright.problems import FLOAT32, InputError, Precision, SignificanceTable

PRECISIONS = (Precision(4, 8), FLOAT32)


def test_the_callers_arrays_stay_theirs():
    """Scores and errors are copied as float64, NaN included, and cannot be written."""
    scores = np.array([[0.5, np.nan]], dtype=np.float32)
    table = SignificanceTable("semantic", ["conv1"], PRECISIONS, scores, scores)
    scores[:] = 9
    for array in (table.scores, table.standard_errors):
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, [[0.5, np.nan]])
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0


@pytest.mark.parametrize("name", ["scores", "standard_errors"])
def test_shapes_are_components_by_precisions(name):
    """A wrong shape is refused with the one expected, by name and by number."""
    arrays = {"scores": [[0, 0]], "standard_errors": [[0, 0]], name: [[0], [0]]}
    message = f"{name} must have shape (components, precisions) = (1, 2), got (2, 1)"
    with pytest.raises(InputError, match=re.escape(message)):
        SignificanceTable("semantic", ("conv1",), PRECISIONS, **arrays)
