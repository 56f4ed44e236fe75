"""The picture of a comparison."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bitwright.comparison import Comparison, Entry
from bitwright.plot_base import label
from bitwright.plots import draw_comparison
from bitwright.problems import BitConfiguration, Precision, Solution

from .pictures import ODD, check_written


def compared(*names: str) -> Comparison:
    """A comparison of solvers with a proof, a gap, no bound, no answer and no solution."""
    bits = BitConfiguration({"a": Precision(8, 8)})
    kinds = itertools.cycle(
        [
            (Solution("p", "s", "optimal", bits, 2.0, 2.0, seconds=0.1), None, ""),
            (Solution("p", "s", "feasible", bits, 3.0, 1.0, seconds=10.0), None, ""),
            (Solution("p", "s", "feasible", bits, 2.5, -np.inf, seconds=0.0), None, ""),
            (Solution("p", "s", "stopped", None, np.inf, -np.inf, seconds=0.2), None, ""),
            (None, "takes no ties", "refused"),
        ]
    )
    entries = [
        Entry(name, solution, why, word, (solution.seconds,) * 3 if solution else ())
        for name, (solution, why, word) in zip(names, kinds, strict=False)
    ]
    return Comparison("p$x$", tuple(entries), {"latency_ms": 4.25})


@pytest.mark.parametrize("names", [["exact"], ["a", "b", "c", "d", "e"], ODD])
def test_comparisons(tmp_path, names):
    """One row per solver, the first on top; what has no answer is said in a word."""
    figure = draw_comparison(compared(*names))
    losses, times = figure.axes
    assert losses.get_yticklabels()[0].get_text() == label(names[0])
    assert losses.get_ylim()[0] > losses.get_ylim()[1]
    assert times.get_xscale() == "log"
    words = [text.get_text() for text in losses.texts]
    assert words == ["stopped", "refused"][: max(len(names) - 3, 0)]
    check_written(figure, tmp_path)
