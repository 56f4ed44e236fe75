"""Latency and energy against hand formulas and published figures; what a device leaves out is named."""

import math
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from bitwright import plugins
from bitwright.cost_models import Roofline, devices, tabulate
from bitwright.cost_models.devices import load_device
from bitwright.problems import InputError, LayerDescription, NetworkDescription, Precision
from bitwright.problems.costing import HasSources, NeedsNetwork
from bitwright.run_config import parse_run_config

from ...pipeline.tiny_run import settings
from ..resnet18 import resnet18
from .devices import array, memory

W4, W8 = Precision(4, 8), Precision(8, 8)
CONV = LayerDescription("conv", "Conv2d", 36_864, 115_605_504, (1, 64, 56, 56), (1, 64, 56, 56))
FC = LayerDescription("fc", "Linear", 512_000, 512_000, (1, 512), (1, 1000))


def roofline(device, cost="latency_us"):
    return Roofline(cost=cost).for_network(None, device)


def test_latency_is_the_larger_of_computing_and_moving():
    """A convolution waits for the array, a fully connected layer for its weights, plus the overhead."""
    device = array(rate=10**11, overhead=3, memories=[memory("DRAM", bandwidth=10**9)])
    model = roofline(device)
    assert float(model.cost(CONV, W8)) == pytest.approx(115_605_504 / 1e11 * 1e6 + 3)
    assert float(model.cost(FC, W4)) == pytest.approx((256_000 + 512 + 1000) / 1e9 * 1e6 + 3)
    assert model.source(CONV, W8).text == "compute bound"
    assert model.source(FC, W4).text == "memory bound (DRAM)"
    assert model.source(FC, W4).runs_as == "mac"


def test_the_nearer_memory_may_be_the_limit():
    """The busiest memory is named, whichever it is; one without a bandwidth is no limit, and is noted."""
    slow = array(memories=[memory("SRAM", 10**6, 10**8), memory("DRAM", bandwidth=10**9)])
    assert roofline(slow).source(FC, W8).text == "memory bound (SRAM)"
    unknown = array(memories=[memory("SRAM", 10**6), memory("DRAM", bandwidth=10**8)])
    model = roofline(unknown)
    assert model.source(FC, W8).text == "memory bound (DRAM)"
    assert "memory 'SRAM' has no bytes_per_second and does not count" in model.notes()


def test_energy_by_the_normalized_costs_of_eyeriss():
    """DRAM 200, buffer 6 and a multiply-add 1, per word of 16 bits (Eyeriss, ISCA 2016, table IV)."""
    memories = [memory("buffer", size=108 * 1024, energy=6 / 2), memory("DRAM", energy=200 / 2)]
    model = roofline(array(energy=1, memories=memories), "energy_uj")
    words = 512_000 + 512 + 1000
    by_hand = FC.macs + 6 * words + 200 * 512_000  # activations fit into the buffer, weights stream
    assert float(model.cost(FC, Precision(16, 16))) == pytest.approx(by_hand * 1e-6)


def test_the_published_power_of_reading_weights_from_dram():
    """A billion connections 20 times a second at 640 pJ per 32-bit word draw 12.8 W from DRAM alone.

    Han et al., Deep Compression, ICLR 2016, section 1, with the energies of Horowitz, ISSCC 2014.
    """
    connections = LayerDescription("all", "Linear", 10**9, 10**9, (1, 1000), (1, 10**6))
    memories = [memory("SRAM", size=10**7, energy=0), memory("DRAM", energy=160)]
    model = roofline(array(energy=0, memories=memories), "energy_j")
    assert 20 * float(model.cost(connections, Precision(32, 32))) == pytest.approx(12.8)


def test_serial_energy_falls_with_the_bits():
    """The energy of one elementary operation is paid for every pair of bits."""
    device = array("bit_serial", energy=2, memories=[memory("DRAM", energy=0)])
    costs = [roofline(device, "energy_uj").cost(FC, Precision(w, 8)) for w in (2, 4, 8)]
    assert costs == [Decimal(2 * w * 8 * 512_000) / 10**6 for w in (2, 4, 8)]


@pytest.mark.parametrize(("cost", "times"), [("latency_ms", 1000), ("latency_s", 10**6)])
def test_other_units(cost, times):
    """The same time in another unit, and the unit in the name."""
    small, large = roofline(array(), cost), roofline(array())
    assert small.name == f"roofline_{cost}"
    assert small.cost(CONV, W8) * times == large.cost(CONV, W8)


def test_resnet18_on_a_t4_by_hand():
    """Every layer of ResNet18 by the data sheet: 65 T int8 or 130 T int4 multiply-adds, 320 GB a second."""
    network = resnet18()
    peaks = {Precision(4, 4): ("int4", 130e12), W8: ("int8", 65e12)}
    table = tabulate(
        network, dict.fromkeys(network.names, tuple(peaks)), [Roofline(device="nvidia_t4")]
    )
    for layer in network:
        values = layer.parameters + math.prod(layer.input_shape) + math.prod(layer.output_shape)
        for precision, (name, peak) in peaks.items():
            seconds = max(layer.macs / peak, values * precision.weight_bits / 8 / 320e9)
            found = float(table.of[layer.name][precision]["roofline_latency_us"])
            assert found == pytest.approx(seconds * 1e6, abs=2e-6)
            assert table.sources["roofline_latency_us"][layer.name][precision].runs_as == name
    assert any("not measured" in note for note in table.notes["roofline_latency_us"])


@pytest.mark.parametrize(
    ("device", "cost", "message"),
    [
        (array(rate=None), "latency_us", "compute type 'mac': macs_per_second is not given"),
        (array(rate=0), "latency_us", "compute type 'mac': macs_per_second must be above 0"),
        (array(energy=None), "energy_uj", "compute type 'mac': energy_pj_per_mac is not given"),
        (array(), "energy_uj", "memory 'DRAM': energy_pj_per_byte is not given"),
        (array(memories=[memory("RAM")]), "latency_us", "memory 'RAM': bytes_per_second is not given"),
        (array(memories=[memory("RAM", bandwidth=0)]), "latency_us", "'RAM': bytes_per_second must be above 0"),
        (array(memories=[]), "latency_us", "device 'toy': memories are not given"),
    ],
)  # fmt: skip
def test_figures_that_are_not_given_are_named(device, cost, message):
    """No figure is invented: the error names the device, the thing, and the figure."""
    with pytest.raises(InputError, match=message):
        roofline(device, cost).cost(FC, W8)


def test_what_the_device_does_not_store_is_refused():
    """The error names layer and precision and what could be stored."""
    with pytest.raises(InputError, match=r"does not store layer 'fc' .Linear. at w5a8; .*w4a8"):
        roofline(array()).cost(FC, Precision(5, 8))


def test_it_is_asked_for_a_device_and_a_known_cost():
    """Without any device, and for a cost that is none, the model says what it needs."""
    network = NetworkDescription("n", (FC,))
    with pytest.raises(InputError, match="'roofline_latency_us' needs a device"):
        tabulate(network, {"fc": (W8,)}, [Roofline()])
    with pytest.raises(InputError, match=r"unknown 'latencyus'; did you mean 'latency_us'\?"):
        Roofline(cost="latencyus")
    with pytest.raises(InputError, match=r"unknown device 'nvidia_t5'; did you mean 'nvidia_t4'\?"):
        plugins.create("cost_models", "roofline", {"device": "nvidia_t5"})


def test_its_own_device_wins_over_the_runs():
    """A device given to the model is kept; the run's serves models without one."""
    assert isinstance(Roofline(), NeedsNetwork)
    assert isinstance(Roofline(), HasSources)
    own = Roofline(device="nvidia_t4")
    assert own.for_network(None, array()).device == load_device("nvidia_t4")
    assert Roofline().for_network(None, array()).device == array()


def test_a_device_file_is_found_beside_the_configuration(tmp_path):
    """A path is seen from the run configuration, and counts among the files of its costs."""
    file = tmp_path / "board.yaml"
    file.write_bytes((Path(devices.__file__).parent / "nvidia_t4.yaml").read_bytes())
    changed = settings(costs=["size_bits", {"name": "roofline", "device": "board.yaml"}])
    config = parse_run_config(yaml.safe_dump(changed), str(tmp_path / "run.yaml"))
    assert config.costs[1].options["device"] == file
    assert config.files(("costs",)) == [file]
    section = config.costs[1]
    made = plugins.create("cost_models", section.name, section.options)
    assert made.device == load_device("nvidia_t4")


@pytest.mark.parametrize(
    "model", [{"name": "roofline"}, {"name": "latency_table", "file": "t.csv"}]
)
def test_another_device_is_another_cost(tmp_path, model):
    """Naming another device of ours changes what results of the costs follow from, file or not."""
    (tmp_path / "t.csv").write_text(
        "layer,weight_bits,activation_bits,latency_us\na,8,8,1\n", "utf-8"
    )
    identities = []
    for device in ("nvidia_t4", "bit_fusion"):
        text = yaml.safe_dump(settings(costs=[model | {"device": device}]))
        config = parse_run_config(text, str(tmp_path / "run.yaml"))
        assert config.costs[0].options["device"] == device
        identities.append(config.identity())
    assert identities[0] != identities[1]
