"""Ties: which sides of a precision the tied layers share."""

import pytest

from bitwright.problems import InputError, Precision, Tie


@pytest.mark.parametrize(
    ("side", "shared"),
    [
        ("all", {"w4a8"}),
        ("weight", {"w4a8", "w4a2", "w4a8-svd"}),
        ("activation", {"w4a8", "w2a8", "w4a8-svd"}),
    ],
)
def test_a_side_is_what_must_be_shared(side, shared):
    """`all` means the same choice with its variant; a side means the same bits on it alone."""
    tie = Tie(("a", "b"), side)
    labels = ("w4a8", "w4a2", "w2a8", "w4a8-svd", "w2a2")
    key = tie.key(Precision(4, 8))
    assert {n for n in labels if tie.key(Precision.parse(n)) == key} == shared


def test_the_reason_is_for_people_only():
    """Ties with other reasons are equal."""
    assert Tie(["a", "b"], reason="added in layer1.0") == Tie(("a", "b"))
    assert len({Tie(("a", "b"), reason="x"), Tie(("a", "b")), Tie(("a", "b"), "weight")}) == 2


@pytest.mark.parametrize("layers", [(), ("a",), ("a", "b", "a")])
def test_a_tie_needs_different_layers(layers):
    """One layer, or one twice, is no tie."""
    with pytest.raises(InputError, match="a tie needs two or more different layers, got"):
        Tie(layers)


def test_an_unknown_side_names_the_nearest():
    """A mistyped side is refused with the right one."""
    with pytest.raises(InputError, match="side 'weights' is unknown; did you mean 'weight'"):
        Tie(("a", "b"), "weights")
