"""Which row serves a layer: by name or operation, by what the device runs it as, and what errors say."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from torch import nn, rand

from bitwright.cost_models import CostTable, tabulate
from bitwright.networks import read_network
from bitwright.problems import FLOAT32, Device, InputError, NetworkDescription, Precision
from bitwright.problems.device import ComputeType, Support
from bitwright.problems.operation import operation_key

from .boards import F16, OPERATION, W4A4, W4A8, W8A8, board, by_layer, conv, residual, row


@pytest.fixture
def write(tmp_path):
    def put(text):
        path = tmp_path / "board.csv"
        path.write_text(text)
        return path

    return put


def operations(*rows, head=()):
    return "\n".join([*head, OPERATION, *rows])


A = operation_key(conv("a", 3, 8, 6))
LAYER = conv("somewhere", 3, 8, 6)


def test_one_table_serves_every_network_with_the_operation(write):
    """Layers of two networks under other names get the figure of what they compute."""
    table = CostTable(file=write(operations(row(A, W8A8, "1.50"), row(A, FLOAT32, 4))))
    assert table.cost(LAYER, W8A8) == table.cost(residual()["a"], W8A8) == Decimal("1.5")
    assert table.cost(LAYER, FLOAT32) == 4
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
    (layer,) = read_network(model, (rand(1, 3, 6, 6),)).description
    assert table.cost(layer, W8A8) == Decimal("1.5")


@pytest.mark.parametrize(
    "text", [operations(row(A, W8A8, 7)), by_layer((), [("somewhere", W8A8, 7)])]
)
def test_a_device_gives_the_row_of_what_a_precision_runs_as(write, text):
    """W4A8 stored, runs as int8: the row of w8a8, and the source says so; float32 has no row."""
    network = NetworkDescription("one", (LAYER,))
    table = CostTable(file=write(text)).for_network(network, board())
    assert table.cost(LAYER, W4A8) == table.cost(LAYER, W4A4) == 7
    source = table.source(LAYER, W4A8)
    assert source.runs_as == "int8"
    assert "at w8a8" in source.text
    assert not source.interpolated
    with pytest.raises(InputError, match=r"at w32a32, which runs as float32 \(w32a32\); .* w8a8"):
        table.cost(LAYER, FLOAT32)


def test_a_row_of_the_precision_itself_comes_first(write):
    """What was measured at W4A8 is W4A8, whatever a rule says of it."""
    text = by_layer((), [("somewhere", W8A8, 7), ("somewhere", W4A8, 5)])
    table = CostTable(file=write(text)).for_network(NetworkDescription("n", (LAYER,)), board())
    assert [table.cost(LAYER, p) for p in (W4A4, W4A8, W8A8)] == [7, 5, 7]


def test_the_type_that_was_measured_counts_before_the_device_says(write):
    """A row that ran as float32 is said so, where the device has that type; other words are for people."""
    network = NetworkDescription("one", (LAYER,))
    for word, runs_as, noted in (("float32", "float32", True), ("s8", "int8", False)):
        text = f"layer,weight_bits,activation_bits,latency_us,runs_as\nsomewhere,8,8,7,{word}\n"
        table = CostTable(file=write(text)).for_network(network, board())
        source = table.source(LAYER, W8A8)
        assert source.runs_as == runs_as
        assert f"measured as {word}" in source.text
        said = f"another type than the device says: somewhere at w8a8 ({word})"
        assert any(said in note for note in table.notes()) == noted
        assert CostTable(file=table.file).source(LAYER, W8A8).runs_as == word


def test_without_a_device_only_measured_precisions_are_known(write):
    """The error tells which precisions there are, and that a device file would say what serves."""
    table = CostTable(file=write(operations(row(A, W8A8, 7), row(A, FLOAT32, 9))))
    with pytest.raises(
        InputError,
        match=r"no row for layer 'somewhere' \(Conv2d 3->8 3x3/1 groups 1 on 6x6\) at w4a8; for this "
        r"operation it covers w8a8, w32a32; a device file says what runs as what",
    ):
        table.cost(LAYER, W4A8)


def test_what_the_device_does_not_store_is_said(write):
    """A precision outside the device is no row's."""
    table = CostTable(file=write(operations(row(A, W8A8, 7))))
    bound = table.for_network(NetworkDescription("n", (LAYER,)), board())
    with pytest.raises(
        InputError, match="at w3a3, which device 'board' does not store for Conv2d; for"
    ):
        bound.cost(LAYER, Precision(3, 3))


def test_depthwise_layers_may_run_as_something_else(write):
    """A device that computes depthwise convolutions in float gets their float row."""
    depthwise = replace(conv("dw", 8, 8, 6), groups=8, parameters=72, macs=72 * 36)
    everything, floats = {W8A8: "int8", FLOAT32: "float32"}, {W8A8: "float32", FLOAT32: "float32"}
    device = Device(
        "d",
        "d",
        (ComputeType("int8", W8A8), ComputeType("float32", FLOAT32)),
        (Support(everything, depthwise=False), Support(floats, depthwise=True)),
    )
    key = operation_key(depthwise)
    full = conv("full", 8, 8, 6)
    text = operations(row(key, FLOAT32, 9), row(operation_key(full), W8A8, 2))
    table = CostTable(file=write(text)).for_network(
        NetworkDescription("n", (depthwise, full)), device
    )
    assert (table.cost(depthwise, W8A8), table.cost(full, W8A8)) == (9, 2)
    assert table.source(depthwise, W8A8).runs_as == "float32"


def test_the_option_names_the_device_of_the_table(write, tmp_path):
    """A device file, or the name of a bundled device."""
    file = tmp_path / "int4.yaml"
    file.write_text(
        "format: bitwright-device/1\nname: int4\ntitle: t\n"
        "compute_types: [{name: int4, precision: w4a4}]\nsupport: [{runs_as: {w8a8: int4}}]\n"
    )
    text = by_layer((), [("somewhere", W4A4, 4), ("somewhere", W8A8, 8)])
    network = NetworkDescription("n", (LAYER,))
    for option, cost in ((file, 4), ("nvidia_t4", 8)):
        path = write(text if cost == 8 else text.replace("somewhere,8,8", "other,8,8"))
        table = CostTable(file=path, device=option)
        assert table.cost(LAYER, W8A8) == cost
        assert table.for_network(network, board()).cost(LAYER, W8A8) == cost
    assert table.source(LAYER, W8A8).runs_as == "int8"
    with pytest.raises(InputError, match="unknown device 'nvidia_t5'"):
        CostTable(file=path, device="nvidia_t5")


def test_an_operation_that_is_not_there_has_nearest_ones(write):
    """The three of its kind that are nearest in size, with their precisions; or the kinds there are."""
    keys = [replace(A, out_channels=n) for n in (16, 64, 256, 1024)]
    table = CostTable(file=write(operations(*(row(key, W8A8, 1) for key in reversed(keys)))))
    with pytest.raises(InputError) as caught:
        table.cost(LAYER, W8A8)
    shown = [f"Conv2d 3->{n} 3x3/1 groups 1 on 6x6 at w8a8" for n in (16, 64, 256)]
    assert str(caught.value).endswith(
        f"covers 4 operations of this kind, the nearest are {'; '.join(shown)}"
    )
    table = CostTable(file=write(operations(row(replace(A, op="conv2d"), W8A8, 1))))
    with pytest.raises(InputError, match="has no operation 'Conv2d'; did you mean 'conv2d'"):
        table.cost(LAYER, W8A8)


def test_an_activation_measured_with_the_layer_comes_first(write):
    """`Conv2d+Hardswish` serves that layer alone; a bare row serves it too, and is then said so."""
    active = replace(LAYER, activation="Hardswish")
    alone = row(A, W8A8, 5)
    both = operations(alone, row(replace(A, op="Conv2d+Hardswish"), W8A8, 7))
    table = CostTable(file=write(both))
    assert (table.cost(active, W8A8), table.cost(LAYER, W8A8)) == (7, 5)
    table = CostTable(file=write(operations(alone)))
    assert table.cost(active, W8A8) == 5
    assert "measured without Hardswish" in table.source(active, W8A8).text
    assert any(note.endswith("activation behind them: somewhere") for note in table.notes())
    clipped = replace(LAYER, activation="ReLU")
    assert "without" not in table.source(clipped, W8A8).text
    only = CostTable(file=write(operations(row(replace(A, op="Conv2d+Hardswish"), W8A8, 7))))
    with pytest.raises(InputError, match="no row for layer 'somewhere'"):
        only.cost(LAYER, W8A8)


def test_a_module_called_several_times_costs_as_often(write):
    """A row of an operation is one call; a row of a layer is all of them."""
    twice = replace(LAYER, macs=2 * LAYER.macs)
    text = operations(row(A, W8A8, "1.5"))
    table = CostTable(file=write(text))
    assert table.cost(twice, W8A8) == 3
    assert "2 calls" in table.source(twice, W8A8).text
    assert CostTable(file=write(by_layer((), [(twice.name, W8A8, 7)]))).cost(twice, W8A8) == 7


def test_another_batch_is_refused_by_operation_and_noted_by_layer(write):
    """The batch of a convolution is in no column, so the table's head must agree with the network."""
    eight = replace(LAYER, input_shape=(8, 3, 6, 6), output_shape=(8, 8, 6, 6), macs=8 * LAYER.macs)
    network = NetworkDescription("n", (eight,))
    head = ["# batch: 1 image"]
    table = CostTable(file=write(operations(row(A, W8A8, 1), head=head)))
    with pytest.raises(InputError, match=r"batch of 1, but layer 'somewhere' reads \(8, 3, 6, 6\)"):
        table.for_network(network, None)
    assert table.for_network(NetworkDescription("n", (LAYER,)), None).cost(LAYER, W8A8) == 1
    layers = CostTable(file=write(by_layer(head, [("somewhere", W8A8, 7)])))
    bound = layers.for_network(network, None)
    assert bound.cost(eight, W8A8) == 7
    assert any("measured with a batch of 1; layer somewhere" in note for note in bound.notes())


def test_float_formats_and_variants_are_rows_of_their_own(write):
    """Float16 is found by its variant, and no other 16 bits take its row."""
    table = CostTable(file=write(by_layer((), [("somewhere", F16, 3)])))
    assert table.cost(LAYER, F16) == 3
    with pytest.raises(InputError, match="at w16a16; for this layer it covers w16a16-float"):
        table.cost(LAYER, Precision(16, 16))


def test_two_costs_of_one_file_stand_beside_each_other(write):
    """Latency and energy are two models of two names, each with its own head and spread."""
    text = (
        "# factor_us: 2\n# factor_uj: 3\n"
        "layer,weight_bits,activation_bits,latency_us,latency_us_spread,energy_uj,runs_as\n"
        "somewhere,8,8,1.5,0.25,10,s8\n"
    )
    path = write(text)
    models = [CostTable(file=path), CostTable(file=path, cost="energy_uj")]
    costs = tabulate(NetworkDescription("n", (LAYER,)), {"somewhere": (W8A8,)}, models)
    assert costs.of["somewhere"][W8A8] == {"latency_us": 3, "energy_uj": 30}
    latency, energy = (costs.sources[m.name]["somewhere"][W8A8] for m in models)
    assert (latency.spread, energy.spread) == (Fraction(1, 2), None)
    assert (latency.runs_as, energy.runs_as) == ("s8", "s8")
    with pytest.raises(InputError, match="column 'energy_mj' is missing; did you mean 'energy_uj'"):
        CostTable(file=path, cost="energy_mj")
