"""Quality: the main metric, means over classes, and the shape of the confusion."""

import math
import re

import numpy as np
import pytest

from bitwright.problems import InputError, Quality


def quality(**changes):
    given_fields = {
        "classes": ["cat", "dog", "emu"],
        "metrics": {"accuracy": 0.75, "ap50": 0.5},
        "per_class": {"cat": 1.0, "dog": 0.25, "emu": math.nan},
        "confusion": np.eye(3),
    }
    return Quality(**{**given_fields, **changes})


def test_the_first_metric_is_the_main_one():
    """By the order given, with its name."""
    assert (quality().main_name, quality().main) == ("accuracy", 0.75)


def test_means_leave_out_classes_that_never_occur():
    """A class without objects counts nothing; only such classes, and none, give NaN."""
    assert quality().over_classes(("cat", "dog", "emu")) == (1.0 + 0.25) / 2
    assert math.isnan(quality().over_classes(("emu",)))
    assert math.isnan(quality().over_classes(()))


def test_a_detector_adds_the_background():
    """The confusion has a row and a column per class, or one more."""
    assert quality(confusion=np.zeros((4, 4))).confusion.shape == (4, 4)
    for shape in ((2, 2), (5, 5), (3, 4), (9,)):
        with pytest.raises(InputError, match=re.escape(f"with 3 or 4 rows, got {shape}")):
            quality(confusion=np.zeros(shape))


def test_the_callers_values_stay_theirs():
    """Arrays and dictionaries are copied, and the confusion cannot be written."""
    confusion, metrics = np.eye(3, dtype=np.int64), {"accuracy": 0.75, "ap50": 0.5}
    kept = quality(confusion=confusion, metrics=metrics)
    confusion[:] = 7
    metrics.clear()
    assert kept == quality()
    with pytest.raises(ValueError, match="read-only"):
        kept.confusion[0, 0] = 1


def test_other_figures_are_refused():
    """At least one metric, and one figure per class."""
    with pytest.raises(InputError, match="needs at least one overall metric"):
        quality(metrics={})
    with pytest.raises(InputError, match=re.escape("must name the classes ['cat', 'dog', 'emu']")):
        quality(per_class={"cat": 1.0})
