"""A significance table as CSV, for people and spreadsheets."""

from __future__ import annotations

import csv
import io
import math

from bitwright.problems import SignificanceTable


def table_csv(table: SignificanceTable) -> str:
    """One row per component, one column per precision; a precision not offered is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["component", *(precision.label for precision in table.precisions)])
    for component, scores in zip(table.components, table.scores.tolist(), strict=True):
        cells = ("" if math.isnan(score) else repr(score) for score in scores)
        writer.writerow([component, *cells])
    return text.getvalue()
