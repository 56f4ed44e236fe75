"""Measure the latency of every layer of a run configuration's network on this machine.

    python benchmarks/layer_latency.py configs/digits.yaml > configs/digits_x86_latency.csv

Each convolution or linear layer is exported alone, in float32 and in 8 bits, and run in ONNX
Runtime with one thread at batch 1. The 8-bit graph takes and gives uint8, as inside a quantized
network, so that no conversion is counted. A precision of at most 8 bits on both sides is stored in
its bits and runs as int8; float32 runs as float32; others are refused. The figure is the smallest
of several short runs, less that of an empty graph. Needs the extra: pip install 'bitwright[onnx]'.
"""

from __future__ import annotations

import argparse
import csv
import platform
import random
import sys
import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from bitwright import plugins
from bitwright.networks import read_network
from bitwright.problems.network import LayerDescription
from bitwright.problems.precision import Precision
from bitwright.run_config import read_run_config

OPSET = 21
REPEATS = 40
RUNS = 50


def main() -> None:
    """Print the table as CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="run configuration")
    config = read_run_config(parser.parse_args().config)
    task = plugins.create("tasks", config.task.name, config.task.options)
    torch.manual_seed(config.seed)
    model = task.build_model()
    layers = read_network(model, task.example_inputs(), config.name).description.layers
    kinds = {"float32": _float_graph, "int8": _integer_graph}
    runs = {
        (layer.name, kind): _session(graph(model.get_submodule(layer.name), layer))
        for layer in layers
        for kind, graph in kinds.items()
    }
    empty = _session(_empty_graph())
    best, spread = _measure({**runs, ("", "empty"): empty})
    overhead = best["", "empty"]
    _print_header(config.name, overhead, spread)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["layer", "weight_bits", "activation_bits", "latency_us"])
    for layer in layers:
        for precision in config.precisions:
            latency = max(best[layer.name, _compute_type(precision)] - overhead, 0.01)
            writer.writerow(
                [layer.name, precision.weight_bits, precision.activation_bits, f"{latency:.2f}"]
            )


def _compute_type(precision: Precision) -> str:
    if precision.is_float32:
        return "float32"
    if max(precision.weight_bits, precision.activation_bits) <= 8 and not precision.variant:
        return "int8"
    sys.exit(
        f"{precision} neither runs as int8 nor as float32 in ONNX Runtime on this kind of machine"
    )


def _measure(
    runs: dict[tuple[str, str], Callable[[], object]],
) -> tuple[dict[tuple[str, str], float], float]:
    """Smallest microseconds per run, in shuffled order against drift, and the median spread."""
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    order = list(runs)
    for _ in range(REPEATS):
        random.Random(len(times[order[0]])).shuffle(order)
        for key in order:
            began = time.perf_counter()
            for _ in range(RUNS):
                runs[key]()
            times[key].append((time.perf_counter() - began) / RUNS * 1e6)
    spread = float(np.median([(np.median(t) - min(t)) / min(t) for t in times.values()]))
    return {key: min(t) for key, t in times.items()}, spread


def _print_header(name: str, overhead: float, spread: float) -> None:
    print(f"# network: {name}")
    print(
        f"# device: {platform.machine()} CPU, ONNX Runtime {onnxruntime.__version__}, 1 thread, batch 1"
    )
    print(f"# date: {time.strftime('%Y-%m-%d')}")
    print(f"# repeats: {REPEATS} x {RUNS} runs; the smallest mean is given")
    print(f"# spread: median is {spread:.0%} above the smallest")
    print(f"# overhead_us: {overhead:.2f} (an empty run, subtracted from every row)")
    print("# compute: up to 8 bits on both sides run as int8, float32 as float32")
    print("# made by: python benchmarks/layer_latency.py")


def _session(model: onnx.ModelProto) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = session.get_inputs()[0]
    dtype = np.uint8 if "uint8" in given.type else np.float32
    value = (np.random.default_rng(0).random(given.shape) * 100).astype(dtype)
    binding = session.io_binding()
    binding.bind_cpu_input(given.name, value)
    binding.bind_output(session.get_outputs()[0].name)
    session.run_with_iobinding(binding)
    return lambda: session.run_with_iobinding(binding)


def _model(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    shapes: dict[str, tuple[int, ...]],
    kind: int,
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    given, made = (helper.make_tensor_value_info(n, kind, shapes[n]) for n in ("x", "y"))
    graph = helper.make_graph(nodes, "layer", [given], [made], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _empty_graph() -> onnx.ModelProto:
    shapes = {"x": (1,), "y": (1,)}
    return _model([helper.make_node("Identity", ["x"], ["y"])], {}, shapes, TensorProto.FLOAT)


def _operation(layer: nn.Module, inputs: list[str], output: str) -> onnx.NodeProto:
    if isinstance(layer, nn.Linear):
        return helper.make_node("Gemm", inputs, [output], transB=1)
    return helper.make_node(
        "Conv", inputs, [output], group=layer.groups, strides=list(layer.stride),
        dilations=list(layer.dilation), pads=[*layer.padding, *layer.padding],
    )  # fmt: skip


def _weights(layer: nn.Module) -> dict[str, np.ndarray]:
    weight = layer.weight.detach().numpy()
    bias = np.zeros(len(weight), np.float32) if layer.bias is None else layer.bias.detach().numpy()
    return {"w": weight, "b": bias}


def _float_graph(layer: nn.Module, description: LayerDescription) -> onnx.ModelProto:
    shapes = {"x": description.input_shape, "y": description.output_shape}
    return _model(
        [_operation(layer, ["x", "w", "b"], "y")], _weights(layer), shapes, TensorProto.FLOAT
    )


def _integer_graph(layer: nn.Module, description: LayerDescription) -> onnx.ModelProto:
    weights = _weights(layer)
    scale = np.abs(weights["w"]).reshape(len(weights["w"]), -1).max(1).clip(1e-6) / 127
    shape = (-1,) + (1,) * (weights["w"].ndim - 1)
    constants = {
        "w": np.rint(weights["w"] / scale.reshape(shape)).astype(np.int8),
        "w_scale": scale.astype(np.float32), "w_zero": np.zeros(len(scale), np.int8),
        "b": np.rint(weights["b"] / (scale * 0.02)).astype(np.int32),
        "b_scale": (scale * 0.02).astype(np.float32), "b_zero": np.zeros(len(scale), np.int32),
        "x_scale": np.float32(0.02), "x_zero": np.uint8(0),
        "y_scale": np.float32(0.1), "y_zero": np.uint8(128),
    }  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wf"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "b_scale", "b_zero"], ["bf"], axis=0),
        _operation(layer, ["xf", "wf", "bf"], "yf"),
        helper.make_node("QuantizeLinear", ["yf", "y_scale", "y_zero"], ["y"]),
    ]
    shapes = {"x": description.input_shape, "y": description.output_shape}
    return _model(
        nodes, {n: np.asarray(v) for n, v in constants.items()}, shapes, TensorProto.UINT8
    )


if __name__ == "__main__":
    main()
