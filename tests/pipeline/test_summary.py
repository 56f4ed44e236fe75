"""The summary warns of a float network that has learned next to nothing."""

import pytest

from bitwright.pipeline.summary import _warnings


@pytest.mark.parametrize(("accuracy", "warned"), [(0.31, True), (0.49, True), (0.69, False)])
def test_a_network_at_chance_is_named(accuracy, warned):
    """Below one and a half times chance for three classes the summary says so."""
    quality = {"metrics": {"accuracy": accuracy}, "per_class": dict.fromkeys("abc", accuracy)}
    warnings = _warnings({"float": {"quality": quality}}, "accuracy")
    assert bool(warnings) is warned
    assert all("little better than chance (0.33)" in text for text in warnings)
