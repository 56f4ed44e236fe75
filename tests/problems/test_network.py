"""Network descriptions: totals, look-up by name, and their rules."""

import pytest

from bitwright.problems import InputError, LayerDescription, NetworkDescription, Tie


def layer(name, parameters=1, macs=1):
    return LayerDescription(name, "Conv2d", parameters, macs, (1, 3, 8, 8), [1, 4, 8, 8], ["bn"])


NETWORK = NetworkDescription("net", [layer("conv1", 108, 6912), layer("conv2", 10, 5)])


def test_totals_are_sums_over_layers():
    """Parameters and multiply-adds of the network are those of its layers."""
    assert (NETWORK.parameters, NETWORK.macs) == (118, 6917)
    assert NETWORK.names == tuple(x.name for x in NETWORK) == ("conv1", "conv2")
    assert len(NETWORK) == 2


def test_lists_become_tuples():
    """Shapes, fused names, layers and ties cannot be changed later."""
    assert layer("conv1").output_shape == (1, 4, 8, 8)
    assert layer("conv1").fused == ("bn",)
    assert isinstance(NETWORK.layers, tuple)
    assert NetworkDescription("n", list(NETWORK), [Tie(("conv1", "conv2"))]).ties[0].side == "all"


def test_layers_are_found_by_name():
    """A mistyped name is refused with the nearest."""
    assert NETWORK["conv2"] is NETWORK.layers[1]
    with pytest.raises(InputError, match="network 'net' has no layer 'cnv2'; did you mean 'conv2'"):
        NETWORK["cnv2"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layer(""), "a layer needs a name"),
        (lambda: layer("x", -1), "layer 'x': parameters must not be negative, got -1"),
        (lambda: layer("x", 1, -2), "layer 'x': macs must not be negative, got -2"),
        (
            lambda: NetworkDescription("n", ()),
            "network 'n' has no layer that computes with weights",
        ),
        (lambda: NetworkDescription("n", [layer("x")] * 2), "network 'n' has two layers named 'x'"),
        (
            lambda: NetworkDescription("n", NETWORK.layers, [Tie(("conv1", "conv"))]),
            "tie names unknown layer 'conv'; did you mean 'conv",
        ),
    ],
)
def test_what_is_no_network_is_refused(make, message):
    """Each rule has its own message."""
    with pytest.raises(InputError, match=message):
        make()
