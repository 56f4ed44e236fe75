"""The summary: its table of what was verified, and a float network that has learned next to nothing."""

import pytest

from bitwright.pipeline.summary import _warnings, verified_text

from ..problems.verified import point, quality, verified


@pytest.mark.parametrize(("accuracy", "warned"), [(0.31, True), (0.49, True), (0.69, False)])
def test_a_network_at_chance_is_named(accuracy, warned):
    """Below one and a half times chance for three classes the summary says so."""
    warnings = _warnings(quality(accuracy, classes="abc"), "accuracy")
    assert bool(warnings) is warned
    assert all("little better than chance (0.33)" in text for text in warnings)


def test_the_table_has_mean_and_spread_over_seeds():
    """A row per point: cost, both losses, PTQ, QAT with its spread, dominated; a dash for what is not."""
    text = verified_text(verified())
    row = next(line for line in text.splitlines() if line.startswith("front 3/9"))
    assert row.split() == [
        *("front", "3/9", "300", "0.3333", "0.5000", "0.5000", "0.6500", "±", "0.0707"),
        *("-", "0.3250", "±", "0.0354", "yes"),
    ]
    assert "mean of 2 seeds ± spread" in text


def test_one_seed_has_no_spread_in_the_table():
    """What was trained once is a figure alone, what was not is a dash."""
    points = [point("x", qat=(0.625,), ptq=0.5), point("y", qat=(), ptq=0.5)]
    text = verified_text(verified(points, seeds=(0,)))
    assert "±" not in text
    rows = {line[0]: line.split() for line in text.splitlines()[2:4]}
    assert rows["x"][4:] == ["0.5000", "0.6250", "-", "0.3125"]
    assert rows["y"][4:] == ["0.5000", "-", "-", "-"]
