"""Critical classes from confusion matrices, and as the user names them."""

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import InputError, Quality
from bitwright.significance import confusion_rates, describe, given_classes, most_confused

NAMES = ("car", "van", "bus", "tram")


def quality(confusion):
    """A quality with this confusion; a row beyond the four names is the background."""
    names = NAMES[: len(confusion)]
    return Quality(names, {"accuracy": 1.0}, dict.fromkeys(names, 1.0), np.array(confusion))


matrices = st.integers(2, 4).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 30), min_size=n, max_size=n), min_size=n, max_size=n)
)


def test_hand_check_of_the_methods():
    """30 of 200 objects of two classes are confused: rate 0.15, and both are critical."""
    critical = most_confused(quality([[80, 20, 0], [10, 90, 0], [0, 0, 100]]))
    assert critical.pairs == (("car", "van", 0.15),)
    assert critical.classes == ("car", "van")
    assert critical.groups == (("car", "van"),)
    assert critical.above_threshold
    assert not critical.given


@given(matrices)
def test_rates_count_confused_objects(confusion):
    """Every rate is the share of the two classes' objects that are taken for the other class."""
    objects = [
        (i, j)
        for i, row in enumerate(confusion)
        for j, count in enumerate(row)
        for _ in range(count)
    ]
    rates = confusion_rates(quality(confusion))
    for a in range(len(confusion)):
        for b in range(len(confusion)):
            either = sum(true in (a, b) for true, _ in objects) + (a == b)
            confused = sum((pair in ((a, b), (b, a))) and a != b for pair in objects)
            assert rates[a, b] == (confused / either if either else 0.0)


def test_background_counts_nowhere():
    """Missed objects and false detections change no rate."""
    plain = [[80, 20, 0, 0], [10, 90, 0, 0], [0, 0, 90, 10], [0, 0, 0, 50]]
    background = np.pad(plain, (0, 1), constant_values=70)
    assert np.array_equal(confusion_rates(quality(plain)), confusion_rates(quality(background)))


def test_the_threshold_itself_is_reached():
    """A rate that equals the threshold is critical; one object less is not."""
    assert most_confused(quality([[95, 5], [5, 95]]), threshold=0.05).above_threshold
    assert not most_confused(quality([[95, 5], [4, 96]]), threshold=0.05).above_threshold


def test_below_the_threshold_the_most_confused_pair_is_taken():
    """Where no pair reaches the threshold the single most confused one is taken, and it is said."""
    critical = most_confused(quality([[99, 1, 0], [0, 98, 2], [0, 0, 100]]))
    assert critical.classes == ("van", "bus")
    assert not critical.above_threshold
    assert "most confused pair is taken as critical: van, bus (0.01)" in describe(critical)


def test_a_perfect_network_has_all_classes_critical():
    """Where no class is confused with another all classes that occur are taken, and it is said."""
    for top in (None, 2):
        critical = most_confused(quality([[9, 0, 0], [0, 0, 0], [0, 0, 7]]), top=top)
        assert critical.classes == ("car", "bus")
        assert critical.pairs == ()
        assert not critical.above_threshold
        assert "no class is confused with another" in describe(critical)


def test_the_top_pairs_are_the_most_confused():
    """With `top` that many pairs are taken, whatever the threshold; equal rates in class order."""
    confusion = [[90, 2, 8, 0], [2, 90, 0, 0], [8, 0, 90, 2], [0, 0, 2, 98]]
    critical = most_confused(quality(confusion), top=2)
    rates = confusion_rates(quality(confusion))
    pairs = sorted((-rates[i, j], i, j) for i in range(4) for j in range(i + 1, 4))[:2]
    assert critical.pairs == tuple((NAMES[i], NAMES[j], -rate) for rate, i, j in pairs)
    assert len(most_confused(quality(confusion), top=99).pairs) == np.count_nonzero(rates) // 2


@given(matrices, st.sampled_from([0.02, 0.1, 0.3]))
def test_groups_are_connected_components(confusion, threshold):
    """Groups are the connected components of the graph of pairs, and together the classes."""
    if not np.array(confusion).any():
        return
    critical = most_confused(quality(confusion), threshold=threshold)
    graph = networkx.Graph((a, b) for a, b, _ in critical.pairs)
    components = {frozenset(group) for group in networkx.connected_components(graph)}
    assert {frozenset(group) for group in critical.groups} == components
    if critical.pairs:
        assert set(critical.classes) == set(graph)
    assert list(critical.classes) == [name for name in NAMES if name in critical.classes]


def test_a_matrix_without_objects_is_refused():
    """Nothing can be mined from a split without objects."""
    with pytest.raises(InputError, match="counts no objects"):
        most_confused(quality([[0, 0], [0, 0]]))


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"threshold": 1.5}, {"top": 0}])
def test_options_out_of_range_are_refused(options):
    """An option that selects nothing, or everything, is named with its range."""
    with pytest.raises(InputError, match=f"{next(iter(options))} must be"):
        most_confused(quality([[9, 1], [1, 9]]), **options)


def test_given_classes_are_one_group():
    """Classes that the user names are taken in the order of the task, once, also a single one."""
    critical = given_classes(["bus", "car", "bus"], NAMES)
    assert critical.classes == ("car", "bus")
    assert critical.groups == (("car", "bus"),)
    assert critical.given
    assert describe(critical) == "critical classes, as given: car, bus"
    assert given_classes(["van"], NAMES).classes == ("van",)


def test_unknown_and_missing_classes_are_refused():
    """A mistyped class gets the nearest name, an empty list the known ones."""
    with pytest.raises(InputError, match="'vam'; did you mean 'van'"):
        given_classes(["vam"], NAMES)
    with pytest.raises(InputError, match="at least one critical class; known: 'bus'"):
        given_classes([], NAMES)


def test_the_description_names_pairs_and_classes():
    """Mined classes are described with the number of pairs and the highest rate."""
    critical = most_confused(quality([[80, 20, 0], [10, 90, 0], [0, 0, 100]]))
    assert describe(critical) == (
        "critical classes, from 1 pair confused at a rate of up to 0.15: car, van"
    )
