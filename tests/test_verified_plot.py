"""The picture of verified points: everything measured is there, and no name covers another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from scipy.stats import rankdata

from bitwright.plots import draw_verified
from bitwright.verified_plot import rank_correlation

from .pictures import ODD, check_written
from .problems.verified import point, quality, verified


def many(count: int):
    """A run with that many points close together, of all kinds."""
    rng = np.random.default_rng(0)
    kinds = ("solution", "front", "uniform")
    return verified([
        point(
            f"configuration {i}", kinds[i % 3], 2 + i % 7, ptq=0.5 + 0.1 * rng.random(),
            qat=tuple(0.7 + 0.05 * rng.random(2)), dominated=i % 4 == 1,
            predicted_loss=float(rng.random()), costs={"size_bits": int(rng.integers(1000, 1200))},
            measured_loss={"critical": float(rng.random()), "overall": 0.1},
        )
        for i in range(count)
    ])  # fmt: skip


def places(axis, colour: str) -> set[tuple[float, float]]:
    """Where markers of this edge colour stand."""
    return {
        tuple(np.round(offset, 9).tolist())
        for collection in axis.collections
        if isinstance(collection, PathCollection) and len(collection.get_edgecolors()) and to_hex(collection.get_edgecolors()[0]) == colour.lower()
        for offset in collection.get_offsets()
    }  # fmt: skip


def test_everything_that_was_measured_is_drawn():
    """Losses against each other; overall quality and that of critical classes against cost, both stages."""
    whole = verified(
        [
            point("a", "solution", 2, ptq=0.6, qat=(0.65, 0.75)),
            replace(point("b", "uniform", 4, ptq=0.75, qat=(0.8, 0.9)), dominated=True),
        ]
    )
    losses, overall, critical = draw_verified(whole, "run").axes
    assert places(losses, "#D55E00") == {(0.5, 0.75), (0.25, 0.375)}
    assert places(overall, "#D55E00") == {(200, 0.6), (400, 0.75)}
    assert places(overall, "#0072B2") == {(200, 0.7), (400, 0.85)}
    assert places(critical, "#D55E00") == set()  # no object of these classes in the PTQ figures
    assert places(critical, "#0072B2") == {(200, 0.35), (400, 0.425)}
    hollow = [tuple(o) for c in overall.collections if isinstance(c, PathCollection) and len(c.get_facecolors()) and tuple(c.get_facecolors()[0][:3]) == (1, 1, 1) for o in c.get_offsets().tolist()]  # fmt: skip
    assert {x for x, _ in hollow} == {400.0}
    bar = overall.containers[0].lines[2][0].get_segments()[0]
    assert bar[:, 1] == pytest.approx([0.7 - 0.1 / 2**0.5, 0.7 + 0.1 / 2**0.5])


def test_names_cover_neither_each_other_nor_the_edge():
    """Drawn for real, no two names of a crowded picture overlap, and all lie inside their panel."""
    figure = draw_verified(many(40), "run")
    figure.draw_without_rendering()
    for axis in figure.axes:
        boxes = [text.get_window_extent() for text in axis.texts]
        assert len(boxes) > 5
        frame = axis.get_window_extent()
        for box in boxes:
            assert frame.x0 <= box.x0 <= box.x1 <= frame.x1
            assert frame.y0 <= box.y0 <= box.y1 <= frame.y1
        text_only = [t.get_window_extent() for t in axis.texts if t.arrow_patch is None]
        assert not any(a.overlaps(b) for i, a in enumerate(text_only) for b in text_only[:i])


def test_solutions_are_named_first():
    """Where there is no room for all names, those that the user gave are there."""
    figure = draw_verified(many(60), "run")
    written = {text.get_text() for text in figure.axes[1].texts}
    named = {f"configuration {i}" for i in range(0, 60, 3)}
    assert len(written & named) > len(written - named)


@pytest.mark.parametrize("count", [3, 8, 30])
def test_rank_correlation_is_pearson_of_ranks(count):
    """Spearman's coefficient, by its definition."""
    whole = many(count)
    ranks = [
        rankdata([p.predicted_loss for p in whole.points]),
        rankdata([p.measured_loss["critical"] for p in whole.points]),
    ]
    assert rank_correlation(whole) == pytest.approx(np.corrcoef(ranks)[0, 1])
    assert f"(rank correlation {rank_correlation(whole):.2f})" in draw_verified(whole, "r").axes[0].get_title()  # fmt: skip


def test_no_rank_correlation_of_too_little():
    """Two points, and losses that are all the same, have none."""
    assert rank_correlation(many(2)) is None
    same = [replace(p, predicted_loss=0.5) for p in many(5).points]
    assert rank_correlation(verified(same)) is None


def test_ptq_far_below_stands_at_the_foot():
    """A PTQ that lost all is a triangle at the foot, so that the trained points keep their scale."""
    whole = verified([point("a", ptq=0.01, qat=(0.9, 0.9)), point("b", bits=3, ptq=0.88, qat=(0.89, 0.89))])  # fmt: skip
    axis = draw_verified(whole, "run").axes[1]
    assert axis.get_ylim()[0] > 0.8
    assert (300, 0.88) in places(axis, "#D55E00")
    assert (400, 0.01) not in places(axis, "#D55E00")


@pytest.mark.parametrize(
    "whole",
    [
        verified([]),
        verified([point("only")]),
        verified([point("ptq", qat=(), weights=())], seeds=()),
        verified([point("unknown", measured_loss={"critical": None, "overall": None})]),
        verified([point("zero", predicted_loss=0.0, measured_loss={"critical": 0.0, "overall": 0.0})]),
        verified([point(f"p{i}", predicted_loss=10.0**-i, measured_loss={"critical": 10.0**-i, "overall": 0.0}) for i in range(6)]),
        verified([point(f"p{i}", predicted_loss=10.0**-i, measured_loss={"critical": -(10.0**-i), "overall": 0.0}) for i in range(6)]),
        verified(float_quality=quality(0.9, critical=None)),
        verified([point(name) for name in ODD], main_metric="f1"),
        many(30),
    ],
    ids=["none", "one", "PTQ only", "no losses", "zero", "decades", "both signs", "no critical", "odd names", "many"],
)  # fmt: skip
def test_whatever_was_verified_is_drawn(tmp_path, whole):
    """No point, one, only PTQ, figures that do not exist, and odd names go through to both files."""
    check_written(draw_verified(whole, ODD[0]), tmp_path)
    assert (tmp_path / "x.svg").stat().st_size < 500_000
