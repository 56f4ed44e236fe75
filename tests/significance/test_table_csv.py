"""The significance table for people."""

import csv
import io

import numpy as np

from bitwright.problems import FLOAT32, Precision, SignificanceTable
from bitwright.significance import table_csv


def test_a_spreadsheet_reads_back_every_score():
    """Rows are components, columns precisions; numbers keep every digit, NaN is an empty cell."""
    scores = np.array([[0.1 + 0.2, np.nan], [-1e-17, 0.0]])
    table = SignificanceTable("semantic", ("a,b", "fc"), (Precision(4, 8), FLOAT32), scores)
    rows = list(csv.DictReader(io.StringIO(table_csv(table))))
    assert [row["component"] for row in rows] == ["a,b", "fc"]
    assert rows[0]["w32a32"] == ""
    read = [[float(row[label] or "nan") for label in ("w4a8", "w32a32")] for row in rows]
    np.testing.assert_array_equal(read, scores)
