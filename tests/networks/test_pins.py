"""Pins by pattern and by place."""

import pytest

from bitwright.networks import pin
from bitwright.problems.errors import InputError
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.precision import FLOAT32, Precision

NAMES = ("stem", "body.0", "body.1", "head.box", "head.label")
NETWORK = NetworkDescription(
    "net", tuple(LayerDescription(name, "Linear", 1, 1, (1, 1), (1, 1)) for name in NAMES)
)
W8 = Precision(8, 8)


def pinned(pins):
    return {layer.name: layer.pinned for layer in pin(NETWORK, pins) if layer.pinned}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("first", ["stem"]),
        ("last", ["head.label"]),
        ("head.*", ["head.box", "head.label"]),
        ("body.[1-9]", ["body.1"]),
        ("stem", ["stem"]),
        ("*", list(NAMES)),
    ],
)
def test_a_pattern_pins_the_layers_it_matches(pattern, names):
    """Patterns are those of fnmatch; `first` and `last` are places."""
    assert pinned({pattern: W8}) == dict.fromkeys(names, W8)


def test_a_later_pattern_wins():
    """Of two patterns that match one layer the later one counts."""
    assert pinned({"*": W8, "last": FLOAT32})["head.label"] == FLOAT32
    assert pinned({"last": FLOAT32, "*": W8})["head.label"] == W8


def test_earlier_pins_stay_and_the_description_is_not_changed():
    """Pinning returns a new description and keeps pins that no pattern touches."""
    again = pin(pin(NETWORK, {"first": W8}), {"last": FLOAT32})
    assert (again["stem"].pinned, again["head.label"].pinned) == (W8, FLOAT32)
    assert all(layer.pinned is None for layer in NETWORK)


def test_a_pattern_without_a_match_is_refused():
    """The error names the pattern, the network and the nearest layer."""
    with pytest.raises(InputError, match=r"pin 'head\.boxes' .* network 'net'; .* 'head\.box'"):
        pin(NETWORK, {"head.boxes": W8})
