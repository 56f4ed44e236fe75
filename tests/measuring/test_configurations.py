"""Which whole networks are measured: what layers may take, ties, and no configuration twice."""

import pytest

from bitwright.measuring.configurations import choices_of, mixed_configurations, uniform
from bitwright.networks import pin
from bitwright.problems import NetworkDescription, Precision
from bitwright.problems.network import LayerDescription
from bitwright.problems.ties import Tie

FLOAT, EIGHT, FOUR = Precision(32, 32), Precision(8, 8), Precision(4, 8)


def network(count=8, ties=()):
    layers = tuple(
        LayerDescription(f"l{i}", "Conv2d", 9, 9, (1, 1, 3, 3), (1, 1, 3, 3)) for i in range(count)
    )
    return NetworkDescription("net", layers, ties)


def test_layers_take_what_was_measured_and_pins_allow():
    """A pin leaves one; what was not measured, or is no layer of the table, stays in float32."""
    pinned = pin(network(3), {"l0": EIGHT, "l1": FOUR})
    choices = choices_of(pinned, (FLOAT, EIGHT), ["l0", "l1"])
    assert choices == {"l0": (EIGHT,), "l1": (FLOAT,), "l2": (FLOAT,)}
    assert dict(uniform(choices, EIGHT)) == {"l0": EIGHT, "l1": FLOAT, "l2": FLOAT}


@pytest.mark.parametrize("side", ["all", "activation"])
def test_tied_layers_agree_and_nothing_is_drawn_twice(side):
    """All configurations differ from each other and from those excluded; the seed decides them."""
    tied = network(8, (Tie(("l1", "l4"), side), Tie(("l4", "l6"), side)))
    choices = choices_of(tied, (FLOAT, EIGHT), tied.names)
    known = [uniform(choices, FLOAT), uniform(choices, EIGHT)]
    drawn = mixed_configurations(tied, choices, 20, seed=3, without=known)
    assert len({*drawn, *known}) == 22
    assert all(one["l1"] == one["l4"] == one["l6"] for one in drawn)
    assert drawn == mixed_configurations(tied, choices, 20, seed=3, without=known)
    assert drawn != mixed_configurations(tied, choices, 20, seed=4, without=known)


def test_shares_of_the_precisions_differ():
    """Among many configurations there are some nearly all in float32 and some nearly all in 8 bits."""
    large = network(40)
    choices = choices_of(large, (FLOAT, EIGHT), large.names)
    drawn = mixed_configurations(large, choices, 60, seed=0)
    shares = [sum(p == EIGHT for p in one.values()) / 40 for one in drawn]
    assert min(shares) < 0.25
    assert max(shares) > 0.75


def test_a_small_network_has_few():
    """Two layers with two precisions have two mixed configurations beside the uniform ones."""
    small = network(2)
    choices = choices_of(small, (FLOAT, EIGHT), small.names)
    known = [uniform(choices, FLOAT), uniform(choices, EIGHT)]
    assert len(mixed_configurations(small, choices, 9, seed=0, without=known)) == 2
