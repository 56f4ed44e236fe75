"""Pictures: any name and any size is drawn, quietly, and the same figure gives the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from bitwright.plots import draw_confusion, draw_front, draw_significance, save
from bitwright.problems import InputError, Precision, SignificanceTable

from .pictures import ODD, check_written, front


def table(components, *, columns: int = 3) -> SignificanceTable:
    """A table with a NaN and a negative cell."""
    scores = np.random.default_rng(0).normal(size=(len(components), columns))
    scores[0, 0] = np.nan
    return SignificanceTable(
        "overall", tuple(components), tuple(Precision(b + 1, 8) for b in range(columns)), scores
    )


@pytest.mark.parametrize("components", [["conv"], ODD, [f"layer{i}" for i in range(1000)]])
def test_significance_maps_of_any_size(tmp_path, components):
    """One component, odd names and a thousand components are drawn, missing cells left white."""
    check_written(
        draw_significance({"semantic": table(components), ODD[0]: table(components)}), tmp_path
    )


@pytest.mark.parametrize("fill", [np.nan, 0.0, -1.0])
def test_significance_maps_of_one_value(tmp_path, fill):
    """Nothing measured, all zero and all negative leave a colour scale that can be drawn."""
    flat = SignificanceTable("overall", ("a", "b"), (Precision(4, 8),), np.full((2, 1), fill))
    check_written(draw_significance({"overall": flat}), tmp_path)


@pytest.mark.parametrize("background", [0, 1])
def test_confusion_with_and_without_background(tmp_path, background):
    """Counts, also of classes that never occur, with odd names and framed pairs."""
    counts = np.zeros((len(ODD) + background,) * 2, dtype=np.int64)
    counts[0, :2] = 5
    figure = draw_confusion(counts, ODD, [(ODD[0], ODD[1], 0.5)])
    assert len(figure.axes[0].patches) == 2  # the pair is framed both ways
    check_written(figure, tmp_path)


def test_pdf_is_written(tmp_path):
    """PDF is the third ending, in capitals too."""
    save(draw_front(front(2)), tmp_path / "x.PDF")
    assert (tmp_path / "x.PDF").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.gif", r"x\.gif: a plot file ends in one of \.png, \.svg, \.pdf; known"),
        ("x.svgz", r"did you mean '\.svg'"),
        ("x", "a plot file ends in"),
        ("file/x.svg", "cannot be written: (Not a directory|File exists)"),
        ("folder.svg", "cannot be written: Is a directory"),
    ],
)
def test_where_no_plot_can_be_written(tmp_path, name, message):
    """An unknown ending and a place that cannot be written are one line with the path."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(InputError, match=message):
        save(draw_front(front(1)), tmp_path / name)
