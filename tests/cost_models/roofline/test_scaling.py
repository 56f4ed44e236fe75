"""What bits do to the speed of an array, as the papers of such arrays have it."""

import pytest

from bitwright.cost_models import Roofline
from bitwright.cost_models.roofline.scaling import operations_per_mac
from bitwright.problems import InputError, LayerDescription, Precision
from bitwright.problems.device import ComputeType

from .devices import PRECISIONS, array

LAYER = LayerDescription("fc", "Linear", 10**6, 10**6, (1, 1000), (1, 1000))


def latency(scaling, label):
    model = Roofline().for_network(None, array(scaling))
    return float(model.cost(LAYER, Precision.parse(label)))


def test_a_bit_serial_array_falls_with_the_product_of_both_widths():
    """BISMO, and HAQ on it: time is that of 1 x 1 bit times weight bits times activation bits."""
    for precision in PRECISIONS:
        passes = precision.weight_bits * precision.activation_bits
        assert latency("bit_serial", precision.label) == pytest.approx(1000 * passes)


@pytest.mark.parametrize(
    ("label", "engines"),
    # Fused engines in one unit of sixteen bricks: Bit Fusion, ISCA 2018, figure 2 and section II.
    [("w2a2", 16), ("w2a8", 4), ("w8a2", 4), ("w4a4", 4), ("w8a4", 2), ("w4a8", 2), ("w8a8", 1)],
)
def test_bricks_fuse_as_published(label, engines):
    """A fusion unit holds so many engines of these widths at once, so that time goes down by as many."""
    assert latency("bit_fusion", "w8a8") / latency("bit_fusion", label) == pytest.approx(engines)


def test_bricks_round_up():
    """Three bits take what four do, one what two do; sixteen take four times eight; more is refused."""
    assert latency("bit_fusion", "w3a4") == latency("bit_fusion", "w4a4")
    assert latency("bit_fusion", "w1a2") == latency("bit_fusion", "w2a2")
    assert latency("bit_fusion", "w16a16") == pytest.approx(4 * latency("bit_fusion", "w8a8"))
    with pytest.raises(InputError, match="'mac' fuses bricks to at most 16 bits, got w32a32"):
        latency("bit_fusion", "w32a32")


def test_weights_alone_in_serial():
    """A weight-serial array takes as many passes as a weight has bits, whatever the activations."""
    assert latency("weight_serial", "w4a8") == pytest.approx(latency("weight_serial", "w4a2"))
    assert latency("weight_serial", "w8a8") == pytest.approx(8 * latency("weight_serial", "w1a8"))


def test_a_type_with_its_own_precision_computes_in_it():
    """What is stored in 2 bits and runs as int8 takes the bricks of 8 x 8."""
    own = ComputeType("int8", Precision(8, 8), "bit_fusion")
    assert operations_per_mac(own, Precision(2, 2)) == 16
    assert {latency("fixed", p.label) for p in PRECISIONS} == {1000.0}
