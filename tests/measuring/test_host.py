"""Measuring a network in a runtime whose times are known: rows, predictions, resuming, refusals."""

import csv
import itertools
import math

import pytest
import torch
from torch import nn

from bitwright.cost_models import CostTable, tabulate
from bitwright.measuring import host
from bitwright.measuring.host import measure_source
from bitwright.measuring.results import Settings
from bitwright.measuring.table import header_of, not_as_asked, write_measured
from bitwright.networks import read_network
from bitwright.problems import (
    AllocationProblem,
    Choice,
    Device,
    InputError,
    LayerChoices,
    Precision,
)
from bitwright.problems.device import ComputeType, Support
from bitwright.progress import Reporter
from bitwright.sources import SourceNetwork

from .fake import EMPTY_US, Clock, FakeRuntime, model_of, weight_us

FLOAT, EIGHT, FOUR = Precision(32, 32), Precision(8, 8), Precision(4, 4)


class Chain(nn.Module):
    """Five layers, two of them alike."""

    def __init__(self):
        super().__init__()
        self.stem, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()
        self.one, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.wide, self.head = nn.Conv2d(8, 12, 1), nn.Linear(12, 5)

    def forward(self, x):
        x = self.two(self.one(self.relu(self.stem(x))))
        return self.head(self.wide(x).mean((2, 3)))


SHAPES = {
    "stem": (8, 3, 3, 3), "one": (8, 8, 3, 3), "two": (8, 8, 3, 3), "wide": (12, 8, 1, 1),
    "head": (5, 12),
}  # fmt: skip


def layer_us(layer, precision):
    return math.prod(SHAPES[layer]) * weight_us(SHAPES[layer], precision == EIGHT)


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(0)
    model, inputs = Chain().eval(), (torch.rand(1, 3, 6, 6),)
    return SourceNetwork(read_network(model, inputs, "chain"), model=model, inputs=inputs)


@pytest.fixture
def clock(monkeypatch):
    """A clock of which every tick is known; exports hold nothing but the weights."""

    def operation(one, precision):
        return model_of([(one.modules[0], precision)])

    def network(model, inputs, configuration, calibration):
        return model_of([(model.get_submodule(name), p) for name, p in configuration.items()])

    monkeypatch.setattr(host, "operation_model", operation)
    monkeypatch.setattr(host, "network_model", network)
    return Clock(monkeypatch)


def measured_by(runtime, source, path, **settings):
    given = {"precisions": runtime.precisions, "repeats": 3, "calibration": 5, "validation": 4}
    return measure_source(source, runtime, Settings(**given | settings), path, Reporter(quiet=True))


def rows_of(path):
    lines = path.read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def test_rows_are_the_known_times(clock, source, tmp_path):
    """Every operation takes what its weights say, the empty run subtracted; twins are measured once."""
    measured = measured_by(FakeRuntime(clock), source, tmp_path / "j", calibration=0, validation=0)
    assert measured.overhead.least == pytest.approx(EMPTY_US)
    for layer in SHAPES:
        known = {precision: layer_us(layer, precision) for precision in (FLOAT, EIGHT)}
        assert measured.layer_times[layer] == pytest.approx(known)
    assert len(measured.operations) == 8
    assert measured.networks == ()
    assert measured.end_to_end is None


def test_a_sum_of_layers_is_predicted_without_error(clock, source, tmp_path):
    """Of networks that take what their layers take, factors are 1, changes are free, errors are 0."""
    measured = measured_by(FakeRuntime(clock), source, tmp_path / "j")
    fitted = measured.end_to_end
    assert fitted.factors == pytest.approx({FLOAT: 1.0, EIGHT: 1.0})
    assert [fitted.rest_us, fitted.change_us] == pytest.approx([0.0, 0.0], abs=1e-6)
    roles = [network.role for network in measured.networks]
    assert [roles.count(r) for r in ("uniform", "calibration", "validation")] == [2, 5, 4]
    assert measured.validation_errors == pytest.approx([0.0] * 4, abs=1e-6)
    for network in measured.networks:
        known = sum(layer_us(name, p) for name, p in network.configuration.items())
        assert network.times.least == pytest.approx(EMPTY_US + known)
    assert len({network.configuration for network in measured.networks}) == 11


def test_a_killed_measurement_gives_the_same_table(clock, source, tmp_path):
    """Killed within a round and started again, it repeats no finished round and writes the same rows."""
    whole = FakeRuntime(clock)
    expected = measured_by(whole, source, tmp_path / "a", calibration=0, validation=0)
    turns = whole.runs
    with pytest.raises(KeyboardInterrupt):
        measured_by(
            FakeRuntime(clock, interrupted_after=turns - 10), source, tmp_path / "b",
            calibration=0, validation=0,
        )  # fmt: skip
    rest = FakeRuntime(clock)
    again = measured_by(rest, source, tmp_path / "b", calibration=0, validation=0)
    assert again.layer_times == expected.layer_times
    assert rest.runs < turns / 2
    changed = FakeRuntime(clock)
    changed.version = "1.3"
    measured_by(changed, source, tmp_path / "b", calibration=0, validation=0)
    assert changed.runs == turns


def test_what_the_runtime_refuses_is_left_out(clock, source, tmp_path):
    """No figure stands for an operation that cannot be run, and no network holds it; the reason is kept."""
    runtime = FakeRuntime(clock, refuses="Linear")
    measured = measured_by(runtime, source, tmp_path / "j", calibration=0, validation=0)
    assert measured.left_out == {"head w8a8": "fake: no kernel for Linear"}
    assert set(measured.layer_times["head"]) == {FLOAT}


@pytest.mark.parametrize("by", ["operation", "layer"])
def test_table(clock, source, tmp_path, by):
    """Rows by operation or by layer with median and spread, and the figures of the fit on top."""
    runtime, path = FakeRuntime(clock), tmp_path / "table.csv"
    measured = measured_by(runtime, source, tmp_path / "j")
    settings = Settings(runtime.precisions, repeats=3)
    header = header_of(measured, runtime, settings, date="2026-01-02")
    assert write_measured(path, measured, header, by) == []
    lines = [line[2:] for line in path.read_text().splitlines() if line.startswith("#")]
    top = dict(line.split(": ", 1) for line in lines)
    assert top == header
    assert (top["network"], top["runtime"], top["date"]) == ("chain", "fake 1.2", "2026-01-02")
    assert float(top["overhead_us"]) == EMPTY_US
    assert float(top["factor_us_w8a8"]) == pytest.approx(1.0)
    rows = rows_of(path)
    both = (("32", FLOAT), ("8", EIGHT))
    if by == "layer":
        found = {(r["layer"], r["weight_bits"]): float(r["latency_us"]) for r in rows}
        expected = {(name, bits): layer_us(name, p) for name in SHAPES for bits, p in both}
    else:
        columns = ("op", "in_channels", "out_channels", "kernel_h", "weight_bits")
        found = {tuple(r[c] for c in columns): float(r["latency_us"]) for r in rows}
        keys = {
            "stem": ("Conv2d+ReLU", "3", "8", "3"), "one": ("Conv2d", "8", "8", "3"),
            "wide": ("Conv2d", "8", "12", "1"), "head": ("Linear", "12", "5", "1"),
        }  # fmt: skip
        expected = {
            (*key, bits): layer_us(name, p) for name, key in keys.items() for bits, p in both
        }
    assert found == pytest.approx(expected, abs=0.005)
    assert {float(row["latency_us_spread"]) for row in rows} == {0.0}


@pytest.mark.parametrize("by", ["operation", "layer"])
def test_a_table_predicts_what_was_predicted(clock, source, tmp_path, monkeypatch, by):
    """Read back, the table gives every measured network the very figure of the measurement.

    Three precisions, of which two run as one type on the device: its rows are still those of each.
    The runtime takes longer for every change of activation bits.
    """
    precisions = (FLOAT, EIGHT, FOUR)
    runtime, path = FakeRuntime(clock), tmp_path / "table.csv"

    def network_with_changes(model, inputs, configuration, calibration):
        bits = [precision.activation_bits for precision in configuration.values()]
        changes = sum(a != b for a, b in itertools.pairwise(bits))
        layers = [(model.get_submodule(name), p) for name, p in configuration.items()]
        return model_of(layers, changes)

    monkeypatch.setattr(host, "network_model", network_with_changes)
    measured = measured_by(
        runtime, source, tmp_path / "j", precisions=precisions, calibration=8, validation=6
    )
    fitted = measured.end_to_end
    assert fitted.change_us + 8 * 36 * fitted.change_us_per_element == pytest.approx(3.0, rel=0.01)
    header = header_of(measured, runtime, Settings(precisions), date="2026-01-02")
    write_measured(path, measured, header, by)
    network = source.traced.description
    device = Device(
        "board",
        "a board with int8 and float32",
        (ComputeType("int8", EIGHT), ComputeType("float32", FLOAT)),
        (Support({FOUR: "int8", EIGHT: "int8", FLOAT: "float32"}),),
    )
    for given in (None, device):
        candidates = dict.fromkeys(network.names, precisions)
        costs = tabulate(network, candidates, [CostTable(file=path)], given)
        layers = [
            LayerChoices(n, [Choice(p, 0.0, costs.of[n][p]) for p in precisions])
            for n in network.names
        ]
        problem = AllocationProblem.from_layers(
            "p", layers, interactions=costs.interactions, fixed_costs=costs.fixed
        )
        assert len(measured.networks) == 3 + 8 + 6
        for one in measured.networks:
            selection = problem.selection(one.configuration)
            total = float(problem.evaluate(selection).costs["latency_us"])
            assert total == pytest.approx(one.predicted, rel=1e-12)


def test_too_many_networks_are_refused(clock, source, tmp_path):
    """Five layers in two precisions have 30 mixed configurations."""
    with pytest.raises(InputError, match=r"has 30 mixed configurations .* ask for 40"):
        measured_by(FakeRuntime(clock), source, tmp_path / "j", calibration=20, validation=20)


def test_types_other_than_asked_are_said(clock, source, tmp_path, monkeypatch):
    """An 8-bit operation that a runtime computes in float32 is named; float32 ones are not."""
    monkeypatch.setattr(FakeRuntime, "runs_as", lambda *_: "float32")
    measured = measured_by(FakeRuntime(clock), source, tmp_path / "j", calibration=0, validation=0)
    said = not_as_asked(measured.operations)
    assert len(said) == 4
    assert all(line.endswith("at w8a8 runs as float32") for line in said)


def test_an_onnx_file_has_no_layers_to_take_out(clock, source, tmp_path):
    """Without a model, the refusal says what can be measured."""
    with pytest.raises(InputError, match="torchvision:NAME"):
        measured_by(FakeRuntime(clock), SourceNetwork(source.traced), tmp_path / "j")
