"""Making a cost table of other tools' profiles: what is shown, what is written, what is refused."""

import argparse
import json
from fractions import Fraction

import pytest

from bitwright.commands.measure_reading import add_reading_arguments, run_reading
from bitwright.cost_models import CostTable
from bitwright.problems import FLOAT32, InputError, Precision
from bitwright.problems.formats.table_csv import read_table
from bitwright.problems.operation import operation_key, operation_keys
from bitwright.sources import read_source

SOURCE = "torchvision:resnet18"
SHAPE = (1, 3, 32, 32)
W8A8 = Precision(8, 8)


@pytest.fixture(scope="module")
def network():
    return read_source(SOURCE, [SHAPE]).traced.description


def profile(network, scale=1, leave_out=()):
    """A trtexec profile with a row per layer; the n-th takes n us, what is no layer 3 and 4 us."""
    named = [
        {"name": f"{layer.name}.weight + /x/Conv", "averageMs": scale * n / 1000}
        for n, layer in enumerate(network, 1)
        if layer.name not in leave_out
    ]
    others = [
        {"name": "Reformatting CopyNode for Input Tensor 0 to /conv1/Conv", "averageMs": 0.003},
        {"name": "/maxpool/MaxPool", "averageMs": 0.004},
    ]
    return json.dumps([{"count": 10}, *named, *others])


@pytest.fixture
def read(tmp_path):
    """Run the two functions as a command would; returns the path of the table."""

    def go(*arguments, by="layer", **files):
        given = []
        for label, content in files.items():
            path = tmp_path / f"{label}.json"
            path.write_text(content)
            given += ["--read", f"{label}={path}"]
        parser = argparse.ArgumentParser()
        add_reading_arguments(parser)
        parser.add_argument("--json", action="store_true")
        parser.add_argument("--quiet", action="store_true")
        options = parser.parse_args([*given, *arguments])
        options.source, options.input, options.out = SOURCE, [SHAPE], tmp_path / "table.csv"
        options.by = by
        assert run_reading(options) == 0
        return options.out

    return go


def test_the_table_serves_the_cost_model(read, network, capsys):
    """Each layer has its time at each precision; the header says what belongs to none."""
    path = read(w8a8=profile(network), w32a32=profile(network, scale=3))
    table = CostTable(file=path)
    header = read_table(path).header
    for n, layer in enumerate(network, 1):
        assert table.cost(layer, W8A8) == n
        assert table.cost(layer, FLOAT32) == 3 * n * Fraction(header["factor_us_w32a32"])
    assert header["network"] == "resnet18"
    assert header["runtime"] == "trtexec"
    assert Fraction(header["rest_us"]) == 7
    assert Fraction(header["factor_us_w8a8"]) == 1
    assert Fraction(header["conversions_us_w8a8"]) == 3
    shown = capsys.readouterr()
    assert "layer4.1.conv2.weight + /x/Conv" in shown.out
    assert "21 of 21 layers" in shown.out
    assert "table.csv: written" in shown.err


@pytest.mark.parametrize("precision", [W8A8, FLOAT32])
def test_a_uniform_prediction_is_the_whole_profile(read, network, precision):
    """Each profile keeps what it took, however much of that belongs to no layer."""
    files = {"w8a8": profile(network), "w32a32": profile(network, scale=3)}
    table = CostTable(file=read("--quiet", **files)).for_network(network, None)
    predicted = table.fixed_cost(network) + sum(table.cost(la, precision) for la in network)
    given = sum(row.get("averageMs", 0) for row in json.loads(files[precision.label]))
    assert float(predicted) == pytest.approx(1000 * given, rel=1e-4)


def test_rows_by_operation_are_means_over_equal_layers(read, network, capsys):
    """Layers of one operation share a row, the mean of their times; other networks may use it."""
    path = read(by="operation", w8a8=profile(network))
    table = CostTable(file=path)
    times = {}
    for n, layer in enumerate(network, 1):
        times.setdefault(operation_key(layer), []).append(n)
    alike = [t for t in times.values() if len(t) > 1]
    assert alike
    for layer in network:
        own = times[operation_key(layer)]
        with_activation = [
            n
            for n, other in enumerate(network, 1)
            if operation_keys(other)[0] == operation_keys(layer)[0]
        ]
        assert set(with_activation) <= set(own)
        mean = sum(with_activation) / len(with_activation)
        assert float(table.cost(layer, W8A8)) == pytest.approx(mean, abs=1e-4)


def test_a_share_of_a_row_makes_no_row_by_operation(read, network, capsys):
    """What was split by multiply-adds is good for this network alone, and the answer says so."""
    rows = json.loads(profile(network))
    rows[1]["name"] += " || layer1.0.conv1.weight"
    path = read(by="operation", w8a8=json.dumps(rows))
    said = capsys.readouterr().err
    assert "in no row" in said
    assert "conv1, layer1.0.conv1" in said
    assert len(read_table(path).rows) < len(network)


def test_layers_without_a_row_are_named_and_refused(read, network, tmp_path, capsys):
    """The mapping is shown, the layers are named, and no table is written, unless it is allowed."""
    some = profile(network, leave_out=("layer1.0.conv2", "fc"))
    with pytest.raises(
        InputError, match=r"w8a8: no row is layer 'layer1.0.conv2', 'fc'; --allow-missing"
    ):
        read(w8a8=some)
    assert "layers without a row: layer1.0.conv2, fc" in capsys.readouterr().out
    assert not (tmp_path / "table.csv").exists()
    rows = read_table(read("--allow-missing", w8a8=some)).rows
    assert {row.cells["layer"] for row in rows} == set(network.names) - {"layer1.0.conv2", "fc"}


def test_another_network_is_told(read):
    """A profile of which no row is a layer is not written, even where layers may be missing."""
    other = json.dumps([{"count": 1}, {"name": "dense_7", "averageMs": 1}])
    with pytest.raises(InputError, match="no row of the profile is a layer of 'resnet18'"):
        read("--allow-missing", w8a8=other)


def test_json_says_the_mapping(read, network, capsys):
    """The JSON holds each row with its layers and rule, and sums that make up the total."""
    read("--json", "--quiet", w8a8=profile(network))
    document = json.loads(capsys.readouterr().out)["profiles"]["w8a8"]
    assert document["tool"] == "trtexec"
    assert document["rows"][0]["layers"] == ["conv1"]
    assert document["rows"][0]["rule"] == "name"
    assert document["layers"]["fc"] == len(network)
    sums = ("layers_us", "conversions_us", "other_us", "unmapped_us")
    assert sum(document[key] for key in sums) == pytest.approx(document["total_us"])


def test_what_ran_in_another_type_is_said(read, network, tmp_path, capsys):
    """Counters that say `bf16` are no measurement of float32, and the answer says so."""
    columns = "layerName;execStatus;layerType;execType;realTime (ms);cpuTime (ms)"
    rows = [
        f"{layer.name};EXECUTED;Convolution;brgconv_avx512_amx_bf16;0.5;0.5" for layer in network
    ]
    path = read(w32a32="\n".join([columns, *rows, "Total;;;;10.5;10.5"]))
    assert (
        "warning: 21 of 21 layers ran in bfloat16, not in float32 as w32a32"
        in capsys.readouterr().out
    )
    assert {row.cells["runs_as"] for row in read_table(path).rows} == {"bfloat16"}


def test_names_reach_the_terminal_escaped(read, network, capsys):
    """Control characters in the names of rows are shown, not sent."""
    rows = json.loads(profile(network))
    rows.append({"name": "\x1b[2J\x07/evil\u202e", "averageMs": 1})
    read(w8a8=json.dumps(rows))
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert all(c.isprintable() or c == "\n" for c in text)
    assert r"\x1b[2J" in shown.out


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("w8a8", "like w8a8=FILE"),
        ("=x", "a precision is written like"),
        ("int8=x", "a precision is written like"),
    ],
)
def test_a_mistyped_profile_is_explained(argument, message, capsys):
    """What is no `PRECISION=FILE` is refused by the parser, with how it is written."""
    parser = argparse.ArgumentParser()
    add_reading_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--read", argument])
    assert message in capsys.readouterr().err


def test_two_profiles_of_one_precision_are_refused(read, network):
    """Which of the two the table should hold is not ours to say."""
    with pytest.raises(InputError, match="two profiles are given for w8a8"):
        read("--read", "w8a8=again.json", w8a8=profile(network))
