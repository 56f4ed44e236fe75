"""Networks as JSON: the contract's example, round trips, and bad layers."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import InputError, LayerDescription, NetworkDescription, Precision, Tie
from bitwright.problems.formats import network_document, read_network, write_network
from bitwright.problems.formats.json_text import parse_json
from bitwright.problems.formats.network_json import network_from_document
from bitwright.problems.network import ActivationTensor, FunctionCall, Link

from ..strategies import names, precisions, some
from .documents import FULL_NETWORK, NETWORK
from .test_problem_json import at

SHAPES = st.lists(st.integers(1, 10**6), max_size=4)


def read(document):
    return network_from_document(parse_json(json.dumps(document), "file"), "file")


def test_the_network_of_the_contract_means_what_it_says():
    """Every figure of the example is read, and the layer is written as it was."""
    example = json.loads(NETWORK)
    network = read(example)
    assert (network.name, network.names) == ("resnet18", ("layer1.0.conv1",))
    layer = network["layer1.0.conv1"]
    assert (layer.kind, layer.parameters, layer.macs) == ("Conv2d", 36864, 115605504)
    assert (layer.input_shape, layer.output_shape) == ((1, 64, 56, 56), (1, 64, 56, 56))
    assert (layer.fused, layer.pinned) == (("layer1.0.bn1", "layer1.0.relu"), None)
    written = network_document(network, example["costs"])
    assert written == {**example, "totals": {"parameters": 36864, "macs": 115605504}}


@st.composite
def networks(draw):
    layers = [
        LayerDescription(
            name,
            draw(st.sampled_from(["Conv2d", "Linear"])),
            draw(st.integers(0, 10**12)),
            draw(st.integers(0, 10**15)),
            draw(SHAPES),
            draw(SHAPES),
            draw(st.lists(names, max_size=2)),
            draw(st.none() | precisions),
            draw(st.none() | precisions),
            draw(st.booleans()),
            draw(st.none() | st.integers(1, 4096)),
            draw(st.none() | st.integers(1, 4096)),
            draw(SHAPES),
            draw(SHAPES),
            draw(st.none() | st.integers(1, 4096)),
            activation=draw(st.sampled_from(["", "Hardswish"])),
        )
        for name in draw(st.lists(names, min_size=1, max_size=4, unique=True))
    ]
    ties = [Tie([x.name for x in layers], "activation", draw(names))] if len(layers) > 1 else []
    one = st.sampled_from([layer.name for layer in layers])
    elements = st.integers(1, 10**12)
    pairs = st.tuples(one, one).filter(lambda pair: pair[0] != pair[1])
    links = st.builds(lambda pair, n: Link(*pair, n), pairs, elements)
    some_of = st.lists(one, unique=True)
    steps = st.tuples(st.integers(0, 99), st.integers(99, 10**4))
    tensors = st.builds(ActivationTensor, elements, some_of, some_of, steps)
    return NetworkDescription(
        draw(names),
        layers,
        ties,
        links=draw(st.lists(links, max_size=3)) if len(layers) > 1 else (),
        tensors=draw(st.lists(tensors, max_size=3)),
    )


@some
@given(networks())
def test_networks_read_back_equal(tmp_path, network):
    """Layers, pins, ties and their reasons survive; the totals are sums."""
    path = tmp_path / "network.json"
    write_network(network, path)
    read_back = read_network(path)
    assert read_back == network
    assert [t.reason for t in read_back.ties] == [t.reason for t in network.ties]
    totals = json.loads(path.read_text())["totals"]
    assert totals["macs"] == sum(layer.macs for layer in network)
    assert totals["parameters"] == sum(layer.parameters for layer in network)


def test_keys_that_say_nothing_are_not_written():
    """A layer without least pin and sizes, which can be quantized, has just the contract's keys."""
    plain = LayerDescription("a", "Linear", 1, 1, (1, 1), (1, 1))
    (written,) = network_document(NetworkDescription("n", (plain,)))["layers"]
    contract = json.loads(NETWORK)["layers"][0]
    assert list(written) == list(contract)
    full = LayerDescription(
        "a", "Conv2d", 1, 1, (1, 1), (1, 1), least=Precision(4, 8), quantizable=False, in_channels=2,
        out_channels=3, kernel=(3, 1), stride=(2, 2), groups=1,
    )  # fmt: skip
    (written,) = network_document(NetworkDescription("n", (full,)))["layers"]
    assert {k: v for k, v in written.items() if k not in contract} == {
        "least": "w4a8", "quantizable": False, "in_channels": 2, "out_channels": 3,
        "kernel": [3, 1], "stride": [2, 2], "groups": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "keys"),
    [
        (FunctionCall("", "w", 1), {"module": "", "parameter": "w", "channel_axis": 1}),
        (FunctionCall("a.b", function="bmm"), {"module": "a.b", "function": "bmm"}),
        (
            FunctionCall("a", function="matmul", number=2),
            {"module": "a", "function": "matmul", "number": 2},
        ),
    ],
)
def test_where_a_function_computes_a_layer(call, keys):
    """What says something is written, and read back as it was."""
    layer = LayerDescription("a", "MatMul", 0, 1, (1, 1), (1, 1), function=call)
    document = network_document(NetworkDescription("n", (layer,)))
    assert document["layers"][0]["function"] == keys
    assert read(document).layers == (layer,)
    document["layers"][0]["function"] = {"module": "a"}
    with pytest.raises(InputError, match="is known by its parameter or its function"):
        read(document)


def test_what_follows_may_be_left_out():
    """Ties, links, tensors, totals, costs, fused and pinned are optional, as in files of before."""
    document = {k: FULL_NETWORK[k] for k in ("format", "name", "layers")}
    for key in ("fused", "pinned"):
        document = at(document, ("layers", 0, key), None)
    network = read(document)
    layer = network.layers[0]
    assert (layer.fused, layer.pinned) == ((), None)
    assert (network.ties, network.links, network.tensors) == ((), (), ())
    assert not {"links", "tensors"} & set(network_document(network))
    assert read(FULL_NETWORK).layers[0].pinned == Precision(8, 8)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("layers", 0, "macs"), -1, "layers[0]: layer 'a': macs must not be negative, got -1"),
        (("layers", 0, "macs"), 1.5, "layers[0].macs: must be an integer, got 1.5"),
        (("layers", 0, "mac"), 1, "layers[0]: unknown key 'mac'; did you mean 'macs'"),
        (("layers", 0, "pinned"), "8", "layers[0]: a precision is written like 'w4a8'"),
        (("layers", 0, "least"), ">=w8", "layers[0]: a precision is written like 'w4a8'"),
        (("layers", 0, "quantizable"), 1, "layers[0].quantizable: must be true or false"),
        (("layers", 0, "kernel"), [3, "3"], "layers[0].kernel[1]: must be an integer"),
        (("layers", 0, "input_shape", 1), "64", "layers[0].input_shape[1]: must be an integer"),
        (("layers", 0, "name"), "", "layers[0]: a layer needs a name"),
        (("layers", 0, "name"), "b", "network 'resnet18' has two layers named 'b'"),
        (("layers",), [], "network 'resnet18' has no layer that computes with weights"),
        (("ties", 0, "layers"), ["a", "x"], "tie names unknown layer 'x'"),
        (("ties", 0, "layers"), ["a"], "ties[0]: a tie needs two or more different layers"),
        (
            ("ties", 0, "side"),
            "activations",
            "ties[0].side: 'activations' is unknown; did you mean",
        ),
        (
            ("links", 0),
            [0, 1],
            "links[0]: a link is two layers and the elements between them, got 2",
        ),
        (("links", 0, 1), 2, "links[0][1]: layers are numbered from 0 to 1, got 2"),
        (("links", 0, 0), "a", 'links[0][0]: must be an integer, got "a"'),
        (("links", 0, 1), 0, "links[0]: a link needs two different layers, got 'a' twice"),
        (("links", 0, 2), 0, "links[0]: a link needs elements, got 0"),
        (("tensors", 0, "elements"), 0, "tensors[0]: a tensor needs elements, got 0"),
        (
            ("tensors", 0, "readers"),
            [-1],
            "tensors[0].readers[0]: layers are numbered from 0 to 1, got -1",
        ),
        (
            ("tensors", 0, "steps"),
            [2, 1],
            "tensors[0]: steps of a tensor go from a first to a last",
        ),
        (("tensors", 0, "steps"), [1], "tensors[0]: steps of a tensor go from a first to a last"),
        (("tensors", 0, "step"), [1], "tensors[0]: unknown key 'step'; did you mean 'steps'"),
        (("totals", "macs"), 1.5, "totals.macs: must be an integer"),
        (("costs", "w8a8", "bitops"), "1", "costs.w8a8.bitops: must be a number"),
    ],
)
def test_bad_networks_are_named_by_file_place_and_rule(path, value, message):
    """One line: file, place, rule, value, nearest valid name."""
    with pytest.raises(InputError, match="^file: " + re.escape(message)):
        read(at(FULL_NETWORK, path, value))
