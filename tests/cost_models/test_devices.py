"""The devices that come with bitwright: sources, arithmetic between published figures, what runs as what."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import pytest

from bitwright.cost_models import devices
from bitwright.cost_models.devices import is_device_path, known_devices, load_device
from bitwright.problems import InputError, Precision
from bitwright.problems.device import Device, Figure, Support
from bitwright.problems.formats.device_yaml import device_from_yaml, device_to_yaml

DOCUMENT = Path(__file__).parents[2] / "docs/devices.md"
KIBI, MEBI = 2**10, 2**20


def figures(device: Device) -> list[Figure]:
    """All figures of a device."""
    found = [device.layer_overhead_us]
    for compute in device.compute_types:
        found += [compute.macs_per_second, compute.energy_pj_per_mac]
    for memory in device.memories:
        found += [memory.size_bytes, memory.bytes_per_second, memory.energy_pj_per_byte]
    return [figure for figure in found if figure is not None]


@pytest.mark.parametrize("name", known_devices())
def test_every_figure_and_entry_has_a_source_to_look_up(name):
    """The name is the file's, and every source holds the address of what it cites."""
    device = load_device(name)
    assert device.name == name
    assert figures(device) or name == "pynq_z1_finn"
    for source in [*(f.source for f in figures(device)), *(e.source for e in device.support)]:
        assert re.search(r"https://\S+\.\S+/\S+", source), source
    assert device_from_yaml(device_to_yaml(device), name) == device


def test_there_are_at_least_seven_real_targets():
    """Beside the two that hold relative energies, or those of a process."""
    assert len(set(known_devices()) - {"eyeriss", "digital_45nm"}) >= 7


def rate(device: str, compute: str) -> Fraction:
    figure = load_device(device).compute_type(compute).macs_per_second
    assert figure is not None
    return figure.value


def memory(device: str, name: str, figure: str) -> Fraction:
    found = next(m for m in load_device(device).memories if m.name == name)
    value = getattr(found, figure)
    assert value is not None
    return value.value


@pytest.mark.parametrize(
    ("device", "compute", "per_cycle", "clock"),
    [
        # Tensor cores x multiply-adds per cycle of each (NVIDIA Turing and Ampere white papers) x clock.
        ("nvidia_t4", "float32", 2560, 1.59e9),
        ("nvidia_t4", "float16", 320 * 64, 1.59e9),
        ("nvidia_t4", "int8", 320 * 128, 1.59e9),
        ("nvidia_t4", "int4", 320 * 256, 1.59e9),
        ("jetson_orin_nano", "float32", 1024, 625e6),
        ("jetson_orin_nano", "float16", 32 * 256, 625e6),
        ("jetson_orin_nano", "int8", 32 * 512, 625e6),
        ("raspberry_pi_5", "float32", 4 * 2 * 128 // 32, 2.4e9),
        ("raspberry_pi_5", "float16", 4 * 2 * 128 // 16, 2.4e9),
        ("raspberry_pi_5", "int8", 4 * 2 * 128 // 8, 2.4e9),
        ("xeon_vnni_onnxruntime", "float32", 28 * 2 * 512 // 32, 2.7e9),
        ("xeon_vnni_onnxruntime", "int8", 28 * 2 * 512 // 8, 2.7e9),
        ("cortex_m7_cmsis_nn", "int8", 2, 480e6),
        ("cortex_m7_cmix_nn", "int16", 2, 480e6),
        ("eyeriss", "int16", 168, 200e6),
        ("bit_fusion", "fused", 16 * 32 * 16, 500e6),
        # BISMO's largest array on the board: 8 x 256 x 8 products of bits at 200 MHz.
        ("pynq_z1_bismo", "bit-serial", 8 * 256 * 8, 200e6),
    ],
)  # fmt: skip
def test_peaks_are_units_times_clock(device, compute, per_cycle, clock):
    """The published peak is what the published parts add up to, within the rounding of data sheets."""
    assert float(rate(device, compute)) == pytest.approx(per_cycle * clock, rel=0.025)


@pytest.mark.parametrize(
    ("device", "name", "figure", "value"),
    [
        ("jetson_orin_nano", "LPDDR5", "bytes_per_second", 128 / 8 * 4266e6),
        ("nvidia_t4", "GDDR6", "bytes_per_second", 256 / 8 * 10e9),
        ("raspberry_pi_5", "LPDDR4X", "bytes_per_second", 32 / 8 * 4267e6),
        ("xeon_vnni_onnxruntime", "DDR4", "bytes_per_second", 6 * 8 * 2933e6),
        ("pynq_z1_bismo", "DDR3", "bytes_per_second", 16 / 8 * 1050e6),
        ("pynq_z1_finn", "block RAM", "size_bytes", 140 * 36 * KIBI / 8),
        ("pynq_z1_finn", "DDR3", "size_bytes", 512 * MEBI),
        ("bit_fusion", "buffers", "size_bytes", (64 + 32 + 16) * KIBI),
        ("bit_fusion", "DRAM", "bytes_per_second", 192 / 8 * 500e6),
        ("cortex_m7_cmsis_nn", "flash", "size_bytes", 2 * MEBI),
        ("eyeriss", "buffer", "size_bytes", 108 * KIBI),
        ("eyeriss", "DRAM", "energy_pj_per_byte", 200 / 2),
        ("eyeriss", "buffer", "energy_pj_per_byte", 6 / 2),
        ("digital_45nm", "SRAM 32 KB", "energy_pj_per_byte", 20 / 8),
        ("digital_45nm", "SRAM 1 MB", "energy_pj_per_byte", 100 / 8),
        ("digital_45nm", "DRAM", "energy_pj_per_byte", 1300 / 8),
    ],
)
def test_memories_are_width_times_rate(device, name, figure, value):
    """Bandwidths from bus width and transfers, sizes from blocks, energies from those of a word."""
    assert float(memory(device, name, figure)) == pytest.approx(value, rel=0.01)


def stored(labels: list[Precision]) -> str:
    """The precisions of one row of the table in the document, in words where they are a square."""
    weights, activations = (
        sorted({getattr(p, f) for p in labels}) for f in ("weight_bits", "activation_bits")
    )
    if weights == activations and len(labels) == len(weights) ** 2 > 1:
        if weights == list(range(weights[0], weights[-1] + 1)):
            return f"{weights[0]} to {weights[-1]} bits on either side"
        first = ", ".join(map(str, weights[:-1]))
        return f"{first} and {weights[-1]} bits on either side"
    return ", ".join(p.label for p in sorted(labels))


def rows(entry: Support) -> list[tuple[str, str]]:
    """What an entry stores and runs as, as the document writes it."""
    by_type = defaultdict(list)
    for precision, name in entry.runs_as.items():
        by_type[name].append(precision)
    kinds = f"{', '.join(entry.kinds)}: " if entry.kinds else ""
    return [(f"{kinds}{stored(labels)}", name) for name, labels in by_type.items()]


def test_the_table_of_the_document_is_what_the_files_say():
    """Every device, in order, with all that it stores and runs as."""
    found, names = [], []
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    for line in [line for line in lines if line.startswith("|")][2:]:
        name, labels, compute = (cell.strip() for cell in line.strip("|").split("|"))
        names += [name.strip("`")] if name else []
        found.append((names[-1], labels, compute))
    assert tuple(names) == known_devices()
    expected = [(n, *row) for n in names for entry in load_device(n).support for row in rows(entry)]
    assert sorted(found) == sorted(expected)


def test_the_example_of_the_document_is_a_device():
    """What it shows of a file of one's own is read as it stands."""
    example = re.search(r"```yaml\n(format.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    device = device_from_yaml(example[1], "docs/devices.md")
    assert device.runs_as("Linear", Precision(3, 8)) == "serial"
    assert device.runs_as("Conv2d", Precision(4, 8), depthwise=True) is None


@pytest.mark.parametrize(
    ("given", "is_path"),
    [
        ("nvidia_t4", False), ("my board", False), ("board.yaml", True), ("b.YML", True),
        ("tpc.json", True), ("folder/board", True), (Path("board"), True),
    ],
)  # fmt: skip
def test_a_path_is_told_from_a_name(given, is_path):
    """By its type, a folder in it, or its ending."""
    assert is_device_path(given) == is_path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nvidia_t5", "unknown device 'nvidia_t5'; did you mean 'nvidia_t4'"),
        ("missing.yaml", "missing.yaml: no such file"),
        ("folder/board", "a device file ends in one of .yaml, .yml, .json"),
    ],
)
def test_what_cannot_be_loaded_is_named(given, message):
    """With the nearest name, or the file."""
    with pytest.raises(InputError) as error:
        load_device(given)
    assert message in str(error.value)


def test_a_file_of_ones_own(tmp_path):
    """A path is read whatever stands in the folder of ours."""
    path = tmp_path / "mine.yaml"
    path.write_text(device_to_yaml(load_device("nvidia_t4")), encoding="utf-8")
    assert load_device(str(path)) == load_device(path) == load_device("nvidia_t4")


def test_a_json_file_is_one_of_mct(monkeypatch):
    """It goes to the reader of Sony's target platform files, whatever its case."""
    asked = []
    monkeypatch.setattr(
        devices, "read_mct", lambda path: asked.append(path) or load_device("nvidia_t4")
    )
    assert load_device("folder/tpc.JSON").name == "nvidia_t4"
    assert asked == [Path("folder/tpc.JSON")]


TYPES = {4: "INT4", 8: "INT8", 16: "INT16"}


def quantized_layer(weight_bits: int, activation_bits: int, operator: str) -> bytes:
    """A layer in QDQ form, with its weight and its input stored in types of these bits."""
    onnx = pytest.importorskip("onnx")
    helper, types = onnx.helper, onnx.TensorProto
    shape, x = ((4, 4, 3, 3), (1, 4, 8, 8)) if operator == "Conv" else ((8, 8), (2, 8))
    weight = getattr(types, TYPES[weight_bits])
    activation = getattr(types, "U" + TYPES[activation_bits])
    count = 1
    for size in shape:
        count *= size
    constants = [
        helper.make_tensor("w", weight, shape, [1 - k % 3 for k in range(count)]),
        helper.make_tensor("w0", weight, (), [0]),
        helper.make_tensor("x0", activation, (), [0]),
        helper.make_tensor("scale", types.FLOAT, (), [0.1]),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "x0"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "x0"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "scale", "w0"], ["wd"]),
        helper.make_node(operator, ["xd", "wd"], ["z"]),
        helper.make_node("QuantizeLinear", ["z", "scale", "x0"], ["zq"]),
        helper.make_node("DequantizeLinear", ["zq", "scale", "x0"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", types.FLOAT, x)],
        [helper.make_tensor_value_info("y", types.FLOAT, None)],
        constants,
    )
    opsets = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def runs_in(model: bytes, operator: str, folder: Path) -> str:
    """`int8` where ONNX Runtime's profile shows an integer kernel, `float32` for the float one."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.log_severity_level = True, 3
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    import numpy as np

    session.run(None, {"x": np.ones(session.get_inputs()[0].shape, np.float32)})
    rows = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    kernels = {r["args"]["op_name"] for r in rows if r.get("cat") == "Node" and "args" in r}
    integer, real = f"QLinear{operator}", operator
    assert len(kernels & {integer, real}) == 1
    return "int8" if integer in kernels else "float32"


@pytest.mark.parametrize("operator", ["Conv", "MatMul"])
def test_onnx_runtime_runs_what_the_device_says(operator, tmp_path):
    """The profile of each pair of stored widths shows the type that the file names for it."""
    device = load_device("xeon_vnni_onnxruntime")
    for precision, name in device.storable("Conv2d").items():
        if not precision.is_float32:
            model = quantized_layer(precision.weight_bits, precision.activation_bits, operator)
            assert runs_in(model, operator, tmp_path) == name, precision
