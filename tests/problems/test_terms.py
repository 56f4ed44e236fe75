"""Interactions and peaks: their rules, and the value of a peak."""

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import InputError, Interaction, Peak

from .strategies import amounts, decimal, some


def test_interactions_keep_decimals_exactly():
    """Costs are exact decimals, losses floats, and the shape is choices by choices."""
    term = Interaction(["a", "b"], [[0.1, 1]], {"latency_us": [[0.1, Decimal("1.4")]]})
    assert term.costs["latency_us"] == ((Fraction(1, 10), Fraction(7, 5)),)
    assert (term.layers, term.loss, term.shape) == (("a", "b"), ((0.1, 1.0),), (1, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("a",), [[0]]), "an interaction needs two different layers, got ['a']"),
        ((("a", "a"), [[0]]), "an interaction needs two different layers"),
        ((("a", "b"), [[0, 1], [2]]), "loss must be a full matrix, got rows of lengths [2, 1]"),
        ((("a", "b"), []), "loss must be a full matrix, got rows of lengths []"),
        ((("a", "b"), [[]]), "loss must be a full matrix, got rows of lengths [0]"),
        ((("a", "b"), [[0, float("nan")]]), "loss[0][1] must be finite, got nan"),
        ((("a", "b"), [["0"]]), "loss[0][0] must be a number, got '0'"),
        ((("a", "b"), [[10**400]]), "loss[0][0] must be below 1.8e+308"),
        (
            (("a", "b"), [[0]], {"c": [[0, 1]]}),
            "must have the shape of its loss (1, 1), got (1, 2)",
        ),
    ],
)
def test_what_is_no_interaction_is_refused(arguments, message):
    """Each rule has its own message, with the place in the matrix."""
    with pytest.raises(InputError, match=re.escape(message)):
        Interaction(*arguments)


@some
@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), amounts, min_size=1), min_size=1), st.data()
)
def test_a_peak_is_its_largest_step(steps, data):
    """A step is the sum of number x activation bits over its layers, and the largest one counts."""
    bits = {name: data.draw(st.integers(1, 32), name) for name in "abc"}
    by_hand = [sum(Fraction(decimal(n)) * bits[k] for k, n in step.items()) for step in steps]
    assert Peak("peak_bytes", steps).value(bits) == max(by_hand)


def test_a_peak_names_its_layers_once():
    """Layers of all steps, in the order of first mention."""
    assert Peak("p", [{"b": 1}, {"a": 1, "b": 2}]).layers == ("b", "a")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "peak 'p' needs one or more steps, each naming a layer"),
        ([{"a": 1}, {}], "peak 'p' needs one or more steps, each naming a layer"),
        ([{"a": 1}, {"b": -1}], "peak 'p', step 1, layer 'b' must not be negative, got -1"),
        ([{"a": float("inf")}], "peak 'p', step 0, layer 'a' must be finite, got inf"),
    ],
)
def test_what_is_no_peak_is_refused(steps, message):
    """Each rule has its own message, with step and layer."""
    with pytest.raises(InputError, match=re.escape(message)):
        Peak("p", steps)
