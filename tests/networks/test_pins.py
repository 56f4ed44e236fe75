"""Pins by pattern and by place."""

from dataclasses import replace

import pytest

from bitwright.networks import pin
from bitwright.problems.errors import InputError
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.precision import FLOAT32, LeastPrecision, Precision, parse_pin

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


OFFERED = (Precision(2, 8), Precision(4, 4), Precision(4, 8), Precision(8, 8), FLOAT32)


def test_a_least_pin_leaves_the_precisions_with_enough_bits():
    """Both sides count; what is pinned to one precision takes it, offered or not."""
    network = pin(NETWORK, {"*": parse_pin(">=w4a8"), "stem": parse_pin("w16a16-float")})
    assert network["head.box"].candidates(OFFERED) == OFFERED[2:]
    assert network["stem"].candidates(OFFERED) == (Precision(16, 16, "float"),)
    assert NETWORK["stem"].candidates(OFFERED) == OFFERED


def test_a_later_pin_replaces_one_of_the_other_kind():
    """A least pin after a fixed one frees the layer, and the other way round."""
    first = pin(NETWORK, {"*": W8, "stem": LeastPrecision(Precision(4, 4))})["stem"]
    assert (first.pinned, first.least) == (None, Precision(4, 4))
    second = pin(NETWORK, {"*": LeastPrecision(Precision(4, 4)), "stem": W8})["stem"]
    assert (second.pinned, second.least) == (W8, None)


def test_a_least_pin_that_allows_nothing_is_refused():
    """The error names the layer, the pin and what is offered."""
    layer = pin(NETWORK, {"stem": parse_pin(">=w8a16")})["stem"]
    with pytest.raises(
        InputError,
        match=r"layer 'stem' is pinned to at least w8a16, which none of .* w2a8, w4a4 has",
    ):
        layer.candidates(OFFERED[:2])


def test_layers_that_cannot_be_quantized_are_passed_over():
    """They stay in float32; `first`, `last` and patterns look only at the others."""
    fixed = tuple(
        replace(layer, quantizable=layer.name not in ("stem", "head.label")) for layer in NETWORK
    )
    network = pin(NetworkDescription("net", fixed), {"first": W8, "last": W8, "head.*": W8})
    assert [layer.name for layer in network if layer.pinned] == ["body.0", "head.box"]
    assert network["stem"].candidates(OFFERED) == (FLOAT32,)
    with pytest.raises(InputError, match="pin 'stem' matches no layer"):
        pin(network, {"stem": W8})


def test_the_ends_are_among_the_names_that_are_suggested():
    """A slip in `first` is named as one."""
    with pytest.raises(InputError, match=r"'fist' matches no layer.*did you mean 'first'"):
        pin(NETWORK, {"fist": W8})


@pytest.mark.parametrize("label", ["w8a8", ">=w4a8", ">=w16a16-bfloat"])
def test_pins_read_back(label):
    """The label of a pin is what it was read from."""
    assert parse_pin(label).label == label


@pytest.mark.parametrize("label", [">=8", ">w4a8", "", ">=", 8])
def test_other_pins_are_refused(label):
    """Anything else is refused with an example."""
    with pytest.raises(InputError, match="a precision is written like 'w4a8'"):
        parse_pin(label)
