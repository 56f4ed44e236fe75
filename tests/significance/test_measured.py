"""The two measures against sums over single objects."""

import inspect

import numpy as np
import pytest
from scipy import stats

from bitwright.problems import FLOAT32, InputError, Precision
from bitwright.problems.protocols import SignificanceMeasure
from bitwright.significance import ObjectLosses
from bitwright.significance.growth import loss_growth, rank_correlation
from bitwright.significance.index import Plan
from bitwright.significance.measured import OverallSignificance, SemanticSignificance
from bitwright.significance.passes import measure_losses

from .tiny import TinyTask, losses_by_hand, scoring_context, tiny_network


def objects_of(task, names):
    return [k for k, label in enumerate(task.labels.tolist()) if task.classes[label] in names]


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("weight", [0.0, 0.5])
@pytest.mark.parametrize(
    ("measure", "critical"),
    [(SemanticSignificance, ("car", "bus")), (OverallSignificance, ("car",))],
)
def test_scores_are_differences_of_mean_losses(tmp_path, measure, critical, boxes, weight):
    """Eq. (2): mean loss of the objects that count, one layer quantized, minus that in float."""
    task, model = TinyTask(boxes=boxes), tiny_network()
    context = scoring_context(tmp_path, task=task, model=model, critical=critical)
    table = measure(box_weight=weight).measure(context)
    chosen = objects_of(task, critical if measure is SemanticSignificance else task.classes)

    def combined(layer=None, bits=None):
        losses = losses_by_hand(task, model, layer, bits)
        box = losses.get("box", [0.0] * len(task.labels))
        return np.array([losses["classification"][k] + weight * box[k] for k in chosen])

    in_float = combined()
    for i, component in enumerate(table.components):
        for j, precision in enumerate(table.precisions):
            if precision not in context.candidates[component]:
                assert np.isnan(table.scores[i, j])
            elif precision == FLOAT32:
                assert table.scores[i, j] == table.standard_errors[i, j] == 0
            else:
                quantized = combined(component, precision.weight_bits)
                growth = quantized.mean() - in_float.mean()
                error = stats.sem(quantized - in_float)
                assert table.scores[i, j] == pytest.approx(growth, abs=1e-6)
                assert table.standard_errors[i, j] == pytest.approx(error, abs=1e-6)
    assert (table.measure, table.details["objects"]) == (measure.name, len(chosen))


def test_both_measures_share_one_measurement(tmp_path):
    """The second measure reads what the first one stored; with all classes critical they agree."""
    overall = OverallSignificance().measure(scoring_context(tmp_path))
    calls = []
    context = scoring_context(tmp_path, calls=calls, critical=TinyTask.classes)
    context.model.forward = None
    semantic = SemanticSignificance().measure(context)
    assert calls == []
    np.testing.assert_array_equal(semantic.scores, overall.scores)


def test_reliability_is_the_rank_correlation_of_two_halves():
    """Halves are alternate objects of each class, in the order of the split; float32 has no ranks."""
    random = np.random.default_rng(3)
    precisions, labels = (Precision(2, 8), Precision(4, 8), FLOAT32), random.integers(0, 3, 50)
    in_float = random.random(50, dtype=np.float32)
    quantized = in_float + random.random((6, 3, 50), dtype=np.float32)
    quantized[:, 2] = in_float
    classes = ("car", "van", "bus")
    candidates = dict.fromkeys("abcdef", precisions)
    plan = Plan(candidates, classes, "score", 0, "weights", "data", "rounding")
    losses = ObjectLosses(plan, labels, {"box": in_float}, {"box": quantized}, {})
    chosen = labels != 1
    table = loss_growth(losses, chosen, measure="semantic", box_weight=1.0)

    halves = ([], [])
    for label in (0, 2):
        for k in np.flatnonzero(labels == label):
            halves[len(halves[0]) > len(halves[1])].append(k)
    first, second = ((quantized - in_float)[:, :, half].mean(axis=2) for half in halves)
    for j, precision in enumerate(precisions[:2]):
        expected = stats.spearmanr(first[:, j], second[:, j]).statistic
        assert table.details["reliability"][precision.label] == pytest.approx(expected)
    assert table.details["reliability"]["w32a32"] is None
    assert table.details["classes"] == ["car", "bus"]


def test_rank_correlation_skips_what_is_not_offered():
    """Components without a value on either side are left out; ties share their rank."""
    first = np.array([0.1, np.nan, 0.3, 0.3, 0.9, 0.2])
    second = np.array([0.2, 0.7, 0.3, 0.5, np.nan, 0.1])
    kept = [0, 2, 3, 5]
    assert rank_correlation(first, second) == stats.spearmanr(first[kept], second[kept]).statistic
    assert rank_correlation(first[:3], second[:3]) is None
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None


def test_one_object_has_no_standard_error(tmp_path):
    """A single critical object gives scores, but neither an error nor a reliability."""
    losses = measure_losses(scoring_context(tmp_path))
    table = loss_growth(losses, np.arange(37) == 4, measure="semantic", box_weight=0.5)
    offered = ~np.isnan(losses.losses["classification"][:, :, 4])
    assert np.array_equal(~np.isnan(table.scores), offered)
    assert np.isnan(table.standard_errors).all()
    assert set(table.details["reliability"].values()) == {None}


@pytest.mark.parametrize(
    ("critical", "message"),
    [
        ((), "needs critical classes"),
        (("cra",), "'cra'; did you mean 'car'"),
        (("tram",), r"no object of the critical classes \['tram'\]"),
    ],
)
def test_a_critical_set_without_objects_is_refused(tmp_path, critical, message):
    """No critical classes, an unknown one, and one without objects are three clear errors."""
    with pytest.raises(InputError, match=message):
        SemanticSignificance().measure(scoring_context(tmp_path, critical=critical))


def test_a_row_that_was_damaged_is_not_taken_for_one_not_offered(tmp_path):
    """A NaN where a precision was measured is an error, not a choice less."""
    measure_losses(scoring_context(tmp_path))
    array = np.lib.format.open_memmap(tmp_path / "losses_classification.npy", mode="r+")
    array[1, 2, 7] = np.nan
    array.flush()
    with pytest.raises(InputError, match="losses of second at w4a8 are damaged"):
        OverallSignificance().measure(scoring_context(tmp_path))


@pytest.mark.parametrize("measure", [SemanticSignificance, OverallSignificance])
def test_measures_are_plug_ins(measure):
    """The constructor's keyword arguments are plainly annotated options with defaults."""
    assert isinstance(measure(), SignificanceMeasure)
    (option,) = inspect.signature(measure).parameters.values()
    assert (option.name, option.annotation, option.default) == ("box_weight", "float", 0.5)
    for bad in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="box_weight must be a number from 0 up"):
            measure(box_weight=bad)
