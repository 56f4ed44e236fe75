"""`--device` of `solve` and `front`, and the devices that `plugins` lists."""

from __future__ import annotations

import json

import pytest

from bitwright.cost_models.devices import known_devices, load_device
from bitwright.problems import LayerDescription, NetworkDescription
from bitwright.problems.formats import read_front, read_solution, write_network

from .problems import configurations, document, refused, run, write

NETWORK = NetworkDescription(
    "tiny",
    tuple(
        LayerDescription(name, kind, 8, 8, (1, 4, 4, 4), (1, 4, 4, 4))
        for name, kind in (("conv1", "Conv2d"), ("conv2", "Conv2d"), ("head", "Linear"))
    ),
)


def test_the_answer_has_only_bits_of_the_device(capsys, tmp_path):
    """CMSIS-NN stores 4 and 8 bits; without it the best answer has others, by enumeration."""
    path = write(tmp_path)
    status, out, _ = run(capsys, "solve", path, "--device", "cortex_m7_cmsis_nn", "--json",
                         "--budget", "size_bytes=29")  # fmt: skip
    allowed = [
        loss
        for loss, costs, bits in configurations(document())
        if set(bits) <= {4, 8} and costs["size_bytes"] <= 29
    ]
    answer = json.loads(out)
    assert status == 0
    assert answer["loss"] == min(allowed)
    assert answer["device"] == "cortex_m7_cmsis_nn"
    assert answer["runs_as"] == dict.fromkeys(("conv1", "conv2", "head"), "int8")
    (tmp_path / "s.json").write_text(out, encoding="utf-8")
    assert read_solution(tmp_path / "s.json").runs_as == answer["runs_as"]


def test_the_text_has_a_column_for_it(capsys, tmp_path):
    """Rows of sums leave it empty, and the device is named."""
    _, out, _ = run(capsys, "solve", write(tmp_path), "--device", "cortex_m7_cmsis_nn")
    head, _, *rows = out.split("\n\n")[0].splitlines()
    assert head.split()[:4] == ["layer", "bits", "runs", "as"]
    assert [row.split()[:3] for row in rows[:3]] == [
        ["conv1", "w8a8", "int8"], ["conv2", "w8a8", "int8"], ["head", "w8a8", "int8"],
    ]  # fmt: skip
    assert "  device       cortex_m7_cmsis_nn" in out
    _, without, _ = run(capsys, "solve", write(tmp_path))
    assert "runs as" not in without
    assert "device" not in without


def test_a_front_says_it_of_every_point_with_bits(capsys, tmp_path):
    """All points without bits name the device alone."""
    device = ("--device", "cortex_m7_cmsis_nn")
    path = write(tmp_path)
    _, out, _ = run(capsys, "front", path, "--cost", "size_bytes", *device, "--json")
    whole = json.loads(out)
    assert whole["device"] == "cortex_m7_cmsis_nn"
    assert not any("runs_as" in point for point in whole["points"])
    _, out, _ = run(capsys, "front", path, "--cost", "size_bytes", *device, "--points", 3, "--json")
    (tmp_path / "f.json").write_text(out, encoding="utf-8")
    for point in read_front(tmp_path / "f.json"):
        assert point.runs_as == dict.fromkeys(point.configuration, "int8")
        assert {p.weight_bits for p in point.configuration.values()} <= {4, 8}
    _, out, _ = run(capsys, "front", path, "--cost", "size_bytes", *device)
    assert "choices that device cortex_m7_cmsis_nn can store" in out


def test_kinds_come_from_the_network_beside_or_given(capsys, tmp_path):
    """XNNPACK has 4-bit weights for matrices alone: convolutions keep 8 bits once kinds are known."""
    path, device = write(tmp_path, ties=[]), ("--device", "raspberry_pi_5", "--json")
    budget = ("--budget", "size_bytes=28")

    def bits(*arguments) -> list[int]:
        _, out, _ = run(capsys, "solve", path, *device, *budget, *arguments)
        found = json.loads(out)["bits"]
        return [found[name]["weight_bits"] for name in ("conv1", "conv2", "head")]

    assert bits() == [4, 8, 4]  # 10 + 5 + 7 + 4 = 26 of 28
    write_network(NETWORK, tmp_path / "elsewhere.json")
    given = (*device, *budget, "--network", tmp_path / "elsewhere.json")
    assert run(capsys, "solve", path, *given)[0] == 3  # 30 at least
    write_network(NETWORK, tmp_path / "network.json")
    budget = ("--budget", "size_bytes=30")
    assert bits() == [8, 8, 4]  # 10 + 9 + 7 + 4 = 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "cortex_m7"), "unknown device 'cortex_m7'; did you mean 'cortex_m7_c"),
        (("--device", "eyeriss"), "layer 'conv1' offers w2a8, w4a8, w8a8, and device 'eyeriss' stores none of them; it stores w16a16"),
        (("--device", "none.yaml"), "none.yaml: no such file"),
        (("--network", "n.json"), "--network needs --device"),
    ],
)  # fmt: skip
def test_bad_devices(capsys, tmp_path, arguments, message):
    """One line, exit status 2."""
    assert message in refused(capsys, "solve", write(tmp_path), *arguments)


def test_plugins_lists_the_devices(capsys):
    """With their titles as text, among the others as JSON."""
    _, out, _ = run(capsys, "plugins")
    for name in known_devices():
        assert any(
            line.split(maxsplit=1) == [name, load_device(name).title]
            for line in out.splitlines()
            if line.strip()
        )
    _, out, _ = run(capsys, "plugins", "--json")
    listed = [entry["name"] for entry in json.loads(out) if entry["kind"] == "devices"]
    assert tuple(listed) == known_devices()
