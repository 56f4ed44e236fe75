"""Bit configurations: an immutable mapping that is equal by value."""

import pytest

from bitwright.problems import BitConfiguration, InputError, Precision

W4, W8 = Precision(4, 8), Precision(8, 8)


def test_it_is_a_mapping_in_the_order_given():
    """Layers come in the order given, and mappings and pairs make the same configuration."""
    given = {"fc": W4, "conv1": W8}
    configuration = BitConfiguration(given)
    assert dict(configuration) == given
    assert list(configuration) == ["fc", "conv1"]
    assert (len(configuration), configuration["fc"], "conv2" in configuration) == (2, W4, False)
    assert BitConfiguration(given.items()) == configuration
    assert repr(configuration) == "BitConfiguration(fc: w4a8, conv1: w8a8)"


def test_the_order_of_layers_does_not_matter_for_equality():
    """Equal bits in another order are the same configuration; a dictionary is none."""
    a, b = BitConfiguration({"x": W4, "y": W8}), BitConfiguration({"y": W8, "x": W4})
    assert a == b
    assert len({a, b, BitConfiguration({"x": W4})}) == 2
    assert a != dict(a)


def test_uniform_gives_every_layer_the_same():
    """One precision for all."""
    assert dict(BitConfiguration.uniform(iter("ab"), W4)) == {"a": W4, "b": W4}


def test_the_given_dictionary_stays_the_callers():
    """Later changes to what was given change nothing."""
    given = {"x": W4}
    configuration = BitConfiguration(given)
    given["x"] = W8
    assert configuration["x"] == W4


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([("x", W4), ("x", W8)], "layer 'x' is given twice in a bit configuration"),
        ({"": W4}, "a layer name must be a non-empty string, got ''"),
        ({7: W4}, "a layer name must be a non-empty string, got 7"),
        ({"x": "w4a8"}, "layer 'x' needs a Precision, got 'w4a8'"),
    ],
)
def test_what_is_no_configuration_is_refused(items, message):
    """Each rule has its own message."""
    with pytest.raises(InputError, match=f"^{message}$"):
        BitConfiguration(items)
