"""A run on a device: what is offered, what is refused, and answers that say what runs as what."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.cli import main
from bitwright.cost_models.devices import load_device
from bitwright.pipeline import stages
from bitwright.pipeline.offering import offered_precisions
from bitwright.problems import (
    FLOAT32,
    InputError,
    LayerDescription,
    NetworkDescription,
    Precision,
    Tie,
)
from bitwright.problems.device import ComputeType, Device, Support
from bitwright.problems.formats import read_front, read_problem, read_solution, read_verified
from bitwright.problems.formats.device_yaml import device_to_yaml
from bitwright.run_config import VariantsSection, parse_run_config

from . import tiny_run

LABELS = ("w2a8", "w4a8", "w8a8", "w4a4", "w16a16-float", "w32a32")
PRECISIONS = tuple(Precision.parse(label) for label in LABELS)


def network(*ties: Tie, **pins: Precision) -> NetworkDescription:
    """A depthwise convolution, a plain one, a matrix, and a layer that stays in float32."""
    return NetworkDescription(
        "net",
        (
            LayerDescription(
                "dw", "Conv2d", 36, 36, (1, 4, 4, 4), (1, 4, 4, 4), in_channels=4, groups=4,
                pinned=pins.get("dw"),
            ),
            LayerDescription(
                "conv", "Conv2d", 144, 144, (1, 4, 4, 4), (1, 4, 4, 4), in_channels=4, groups=1,
                pinned=pins.get("conv"),
            ),
            LayerDescription("fc", "Linear", 400, 400, (1, 40), (1, 10), pinned=pins.get("fc")),
            LayerDescription("lstm", "LSTM", 80, 80, (1, 4), (1, 4), quantizable=False),
        ),
        ties,
    )  # fmt: skip


def board(default: str, linear: str = "", depthwise: str = "", other: str = "") -> Device:
    """A device that stores these labels; entries beside the default one where they are given."""

    def entry(labels: str, *kinds: str, depthwise: bool | None = None) -> Support:
        runs_as = {Precision.parse(label): "type" for label in labels.split()}
        return Support(runs_as, kinds, depthwise)

    support = [entry(default)]
    support += [entry(linear, "Linear")] if linear else []
    support += [entry(depthwise, "Conv2d", depthwise=True)] if depthwise else []
    support += [entry(other, "Conv2d", depthwise=False)] if other else []
    return Device("board", "A board", (ComputeType("type"),), support)


def offered(device: Device | None, *ties: Tie, precisions=PRECISIONS, pins=None, **section) -> dict:
    found = offered_precisions(
        network(*ties, **(pins or {})), precisions, VariantsSection(**section), {"conv"}, device
    )
    return {name: " ".join(p.label for p in forms) for name, forms in found.items()}


SETS = st.sets(st.sampled_from(LABELS), min_size=1).map(lambda chosen: " ".join(sorted(chosen)))


@given(SETS, SETS, SETS, SETS, st.booleans())
@settings(max_examples=80, deadline=None)
def test_what_is_offered_is_what_is_asked_for_and_stored(default, linear, depthwise, other, tied):
    """Brute force over layers and precisions gives the same, ties between convolutions included."""
    device = board(f"{default} w32a32", linear, depthwise, other)
    asked = PRECISIONS[:-1]
    entries = {"dw": depthwise, "conv": other, "fc": linear}
    expected = {}
    for name, labels in entries.items():
        kept = [p.label for p in asked if p.label in labels.split()]
        expected[name] = kept or (["w32a32"] if "w32a32" in labels.split() else [])
    ties = (Tie(("dw", "conv")),) if tied else ()
    if tied:
        common = [label for label in expected["dw"] if label in expected["conv"]]
        impossible = not common
        expected |= {"dw": common, "conv": common}
    else:
        impossible = False
    if impossible or not all(expected.values()):
        with pytest.raises(InputError, match="board"):
            offered(device, *ties, precisions=asked)
        return
    found = offered(device, *ties, precisions=asked)
    assert found == {n: " ".join(labels) for n, labels in expected.items()} | {"lstm": "w32a32"}


def test_forms_are_offered_where_the_plain_precision_is_stored():
    """Hybrid and ranks are added to what is left; float16 must be listed."""
    device = board("w4a8 w32a32")
    found = offered(device, hybrid="choice", svd=(0.5,))
    assert found == {
        "dw": "w4a8 w32a32",
        "conv": "w4a8-hybrid w4a8-integer w32a32",
        "fc": "w4a8 w4a8-svd-4 w32a32 w32a32-svd-4",
        "lstm": "w32a32",
    }


def test_a_device_that_stores_all_changes_nothing():
    """So does none at all."""
    assert offered(board(" ".join(LABELS))) == offered(None)


@pytest.mark.parametrize(
    ("device", "arguments", "message"),
    [
        (board("w8a8 w32a32"), {"pins": {"fc": Precision(4, 8)}}, "layer 'fc' (a Linear) is pinned to w4a8, which device 'board' cannot store; it stores w8a8, w32a32"),
        (board("w8a8"), {}, "layer 'lstm' (a LSTM) can only be left in float32, which device 'board' cannot store; it stores w8a8"),
        (board("w32a32", linear="w8a8"), {"precisions": PRECISIONS[:2]}, "device 'board' can store none of w2a8, w4a8 for layer 'fc' (a Linear); it stores w8a8"),
        (Device("board", "B", (ComputeType("t"),), (Support({FLOAT32: "t"}, ("Conv2d", "LSTM")),)), {}, "for layer 'fc' (a Linear); it stores no layers of that kind"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_refused(device, arguments, message):
    """Pins, layers that must stay in float32, and layers of which nothing is left."""
    with pytest.raises(InputError) as error:
        offered(device, **arguments)
    assert message in str(error.value)


def test_ties_to_which_nothing_is_left_are_named():
    """Sides alone count as well."""
    device = board("w4a4 w32a32", linear="w8a8")
    with pytest.raises(InputError) as error:
        offered(device, Tie(("conv", "fc"), "activation"), precisions=PRECISIONS[2:4])
    assert "device 'board' leaves tied layers (side 'activation') nothing in common: conv w4a4; fc w8a8" in str(error.value)  # fmt: skip


@pytest.fixture(scope="module")
def configuration(tmp_path_factory):
    """A run configuration beside a device of one's own, which stores w8a8 of matrices alone."""
    folder = tmp_path_factory.mktemp("config")
    device = board("w2a8 w4a8 w8a8", linear="w8a8")
    (folder / "mine.yaml").write_text(device_to_yaml(device), encoding="utf-8")
    verify = {"front_points": 1, "uniform": ["w4a8", "w3a8"]}
    precisions = ["w2a8", "w3a8", "w4a8", "w8a8"]
    document = tiny_run.settings(
        verify=verify, precisions=precisions, training={"epochs": 1}, device="mine.yaml"
    )
    (folder / "run.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(configuration, tmp_path_factory):
    """That run, carried out but for its pictures."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "STAGES", [s for s in stages.STAGES if s.name != "draw"])
        assert main(["run", str(configuration / "run.yaml"), "--runs", str(runs), "--quiet"]) == 0
    return runs / "tiny"


def test_a_run_ends_within_the_device_and_says_what_runs_as_what(finished):
    """Problem, solutions, and the points of the front that have bits."""
    for layer in read_problem(finished / "problem.json"):
        allowed = {"w8a8"} if layer.name == "head" else {"w2a8", "w4a8", "w8a8"}
        assert {c.precision.label for c in layer.choices} == allowed
    for name in ("small", "both"):
        solution = read_solution(finished / f"solutions/{name}.json")
        assert solution.device == "board"
        assert solution.runs_as == dict.fromkeys(solution.configuration, "type")
        document = json.loads((finished / f"solutions/{name}.json").read_text())
        assert document["runs_as"]["head"] == "type"
    assert read_front(finished / "front.json").device == "board"
    chosen = read_front(finished / "front_points.json")
    assert all(p.runs_as == dict.fromkeys(p.configuration, "type") for p in chosen)


def test_uniform_points_are_those_that_the_device_can_hold(finished):
    """A layer with a single choice takes it; what every layer would round up is left out."""
    points = {p.name: p.configuration for p in read_verified(finished / "verified.json").points}
    assert "uniform w3a8" not in points
    assert {n: p.label for n, p in points["uniform w4a8"].items()} == {
        "stem": "w4a8", "blocks.0.conv1": "w4a8", "blocks.0.conv2": "w4a8", "head": "w8a8",
    }  # fmt: skip


def test_the_summary_counts_what_runs_as_what(finished, configuration, capsys):
    """A run that is done is only told again, and says so for every solution."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "STAGES", [s for s in stages.STAGES if s.name != "draw"])
        main(["run", str(configuration / "run.yaml"), "--runs", str(finished.parent)])
        out, err = capsys.readouterr()
        assert err.count("done before") == len(stages.STAGES)
    assert "small: layers that run on board: 4 as type" in out


def test_another_device_file_redoes_what_follows_from_it(finished, configuration, monkeypatch):
    """The file's content counts, not its name: training is kept, scores and the problem are not."""
    monkeypatch.setattr(stages, "STAGES", [s for s in stages.STAGES if s.name in ("train", "read", "mine", "score", "problem", "solve")])  # fmt: skip
    device = configuration / "mine.yaml"
    before = device.read_text(encoding="utf-8")
    device.write_text(device_to_yaml(board("w8a8")), encoding="utf-8")
    path = configuration / "run.yaml"
    lines = tiny_run.Lines()
    config = parse_run_config(path.read_text(encoding="utf-8"), str(path))
    stages.carry_out(config, finished.parent, lines)
    assert lines.done == ["measure significance", "tabulate costs", "solve"]
    assert "  w2a8 cannot be stored for any layer" in "\n".join(lines.said)
    device.write_text(before, encoding="utf-8")


def test_a_layer_of_which_nothing_is_stored_is_left_in_float32(tmp_path, monkeypatch):
    """The run goes on, and names it."""
    monkeypatch.setattr(stages, "STAGES", [s for s in stages.STAGES if s.name not in ("draw", "verify")])  # fmt: skip
    path = tmp_path / "d.yaml"
    path.write_text(device_to_yaml(board("w8a8", linear="w32a32")), encoding="utf-8")
    lines = tiny_run.Lines()
    config = tiny_run.config(training={"epochs": 1}, device=str(path))
    folder = stages.carry_out(config, tmp_path, lines)
    assert "  left in float32, since nothing else can be stored: head" in "\n".join(lines.said)
    solution = read_solution(folder / "solutions/small.json")
    assert solution.configuration["head"] == FLOAT32


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("nvidia_t5", "device 'nvidia_t5'; did you mean 'nvidia_t4'"),
        (["nvidia_t4"], "device"),
    ],
)
def test_a_device_of_the_configuration_is_checked(device, message):
    """A name by those that are known, before anything runs."""
    with pytest.raises(InputError, match=message):
        tiny_run.config(device=device)


def test_the_name_of_a_device_is_kept_and_a_path_is_anchored(tmp_path):
    """Paths are relative to the configuration; results follow from what the file holds."""
    text = yaml.safe_dump(tiny_run.settings(device="boards/mine.yaml"))
    config = parse_run_config(text, str(tmp_path / "run.yaml"))
    assert config.device == tmp_path.resolve() / "boards/mine.yaml"
    assert config.files(["device"]) == [config.device]
    assert config.identity()["device"] is None
    named = tiny_run.config(device="nvidia_t4")
    assert named.document()["device"] == named.identity()["device"] == "nvidia_t4"
    assert load_device(named.device).name == "nvidia_t4"
