"""Profiles that ONNX Runtime and OpenVINO record here, against what is known of the network."""

from __future__ import annotations

import json
import statistics
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from bitwright.cost_models.readers import map_profile, read_profile
from bitwright.networks import read_network, read_onnx

RUNS = 8


class Block(nn.Module):
    """A residual block with a way around, as in ResNet."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs))

    def forward(self, x):
        inner = self.conv2(self.relu(self.bn1(self.conv1(x))))
        return torch.relu(inner + self.downsample(x))


class Small(nn.Module):
    """Every layer has a weight of its own shape, so that profiles which say shapes tell the truth."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU())
        self.layer1 = nn.Sequential(Block(16, 24), Block(24, 40))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(40, 10)

    def forward(self, x):
        return self.fc(self.pool(self.layer1(self.stem(x))).flatten(1))


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    """The network as PyTorch's older exporter writes it: names are paths of modules."""
    pytest.importorskip("onnx")
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter says that it is the older one
        torch.onnx.export(model, (torch.rand(1, 3, 32, 32),), path, dynamo=False)
    return path


@pytest.fixture(scope="module")
def network(model):
    return read_network(model, (torch.rand(1, 3, 32, 32),), "small").description


@pytest.fixture(scope="module")
def onnxruntime_file(onnx_file, tmp_path_factory):
    """A profile of `RUNS` runs in one thread."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.intra_op_num_threads = 1
    options.profile_file_prefix = str(tmp_path_factory.mktemp("ort") / "small")
    session = onnxruntime.InferenceSession(str(onnx_file), options)
    feed = {session.get_inputs()[0].name: torch.rand(1, 3, 32, 32).numpy()}
    for _ in range(RUNS):
        session.run(None, feed)
    return session.end_profiling()


def anonymous(profile):
    """The same rows without their names."""
    renamed = (replace(row, name=f"n{i}") for i, row in enumerate(profile.rows))
    return replace(profile, rows=tuple(renamed))


def test_onnxruntime_times_are_those_of_its_events(onnxruntime_file):
    """Each row's time is the median of what the file says of its node, the first run left out."""
    durations: dict[str, list[int]] = {}
    for event in json.loads(Path(onnxruntime_file).read_text()):
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            durations.setdefault(name, []).append(event["dur"])
    profile = read_profile(onnxruntime_file)
    assert {row.name: row.time_us for row in profile.rows} == {
        name: statistics.median(times[1:]) for name, times in durations.items()
    }
    assert {row.count for row in profile.rows} == {RUNS - 1}


def test_onnxruntime_rows_are_the_layers_of_their_weights(onnxruntime_file, network, model):
    """Every layer has one row, and where the file says the shape of a weight it is the layer's own."""
    mapping = map_profile(read_profile(onnxruntime_file), network)
    assert mapping.missing == ()
    assert mapping.unmapped == ()
    modules = dict(model.named_modules())
    told = 0
    for row in mapping.rows:
        for name in row.layers:
            weights = [shape for shape in row.measurement.inputs if len(shape) == 4][1:2]
            own = tuple(modules[name].weight.shape)
            for filled in weights:  # channels are filled up to blocks of at most 16
                assert filled[2:] == own[2:]
                assert all(0 <= f - o < 16 for f, o in zip(filled, own, strict=True))
                told += 1
    assert told >= 6


def test_shapes_and_names_find_the_same_layers(onnxruntime_file, network):
    """Without any name the shapes lead to the layers that the names lead to."""
    profile = read_profile(onnxruntime_file)
    by_names = [row.layers for row in map_profile(profile, network).rows]
    assert [row.layers for row in map_profile(anonymous(profile), network).rows] == by_names


def test_nodes_of_an_onnx_file_are_found_by_their_names(onnxruntime_file, onnx_file):
    """A network that was read from the ONNX file has its nodes' names, which the profile keeps."""
    network = read_onnx(onnx_file).description
    mapping = map_profile(read_profile(onnxruntime_file), network)
    assert mapping.missing == ()
    assert Counter(row.rule for row in mapping.rows)["name"] >= 2


@pytest.fixture(scope="module")
def openvino_files(onnx_file, tmp_path_factory):
    """Average and detailed counters, written by OpenVINO's own tool, and what it was given to write."""
    openvino = pytest.importorskip("openvino")
    report = pytest.importorskip("openvino.tools.benchmark.utils.statistics_report")
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(onnx_file), "CPU", {"PERF_COUNT": "YES", "INFERENCE_NUM_THREADS": 1}
    )
    request, counters = compiled.create_infer_request(), []
    for _ in range(RUNS):
        request.infer([torch.rand(1, 3, 32, 32).numpy()])
        counters.append(request.profiling_info)
    folder = tmp_path_factory.mktemp("openvino")
    given = [
        {c.node_name: c.real_time.total_seconds() * 1e6 for c in run if "EXECUTED" in str(c.status)}
        for run in counters
    ]
    for kind in (report.detailedCntReport, report.averageCntReport):
        writer = report.CsvStatisticsReport(report.CsvStatisticsReport.Config(kind, str(folder)))
        writer.dump_performance_counters(counters)
    return (
        folder / "benchmark_average_counters_report.csv",
        folder / "benchmark_detailed_counters_report.csv",
        given,
    )


def test_openvino_counters_are_those_of_its_runs(openvino_files):
    """The detailed report's median is that of the runs; the average report holds their averages."""
    average, detailed, given = openvino_files
    for row in read_profile(detailed).rows:
        times = [run[row.name] for run in given if row.name in run]
        assert float(row.time_us) == pytest.approx(statistics.median(times), abs=0.51)
    for row in read_profile(average).rows:
        mean = sum(run.get(row.name, 0) for run in given) / len(given)
        assert float(row.time_us) == pytest.approx(mean, abs=0.51)


def test_openvino_rows_are_layers(openvino_files, network):
    """Every layer has one row in the counters of the average and in those of single runs."""
    for file in openvino_files[:2]:
        mapping = map_profile(read_profile(file), network)
        assert mapping.missing == ()
        assert mapping.unmapped == ()
        assert all(len(row.layers) <= 1 for row in mapping.rows)
