"""Eight-bit outputs for convolutions in integers: ONNX Runtime's integer convolution gives nothing else.

A convolution whose result is added to something, or leaves the network, otherwise computes in
float32, with weights that are decoded in every run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bitwright.networks import evaluation_mode, layers_of
from bitwright.problems.errors import MeasurementError
from bitwright.quantization.export.codes import CodedWeight
from bitwright.quantization.export.graph import Graph, LayerNode
from bitwright.quantization.export.parts import LayerParts, NetworkParts
from bitwright.quantization.export.types import integer_type, raw_bytes
from bitwright.quantization.grids import QuantizationGrid, affine_grid

_BITS = 8
_BOUNDING = ("Relu", "Clip")


def add_output_grids(
    graph: Graph,
    calls: Sequence[LayerNode],
    parts: NetworkParts,
    batches: Iterable[tuple[Any, ...]],
    least_bits: int = 0,
) -> int:
    """Round what 8-bit convolutions give over its range on batches, after a ReLU or ReLU6 behind them.

    Codes are stored in types of `least_bits` or more. Outputs that are only quantized anyway are
    left alone. Returns how many grids were added.
    """
    eligible = [
        call
        for call in calls
        if call.node.op_type == "Conv" and _is_eight(parts.layers[call.layer], least_bits)
    ]
    ranges = _ranges(parts.model, {call.layer for call in eligible}, batches)
    added = 0
    for call in eligible:
        node, low, high = call.node, *ranges[call.layer]
        readers = _readers(graph, node)
        if len(readers) == 1 and readers[0].op_type in _BOUNDING:
            node = readers[0]
            low, high = (end.clamp(*_bounds(graph, node)) for end in (low, high))
            readers = _readers(graph, node)
        if readers and all(reader.op_type == "QuantizeLinear" for reader in readers):
            continue
        _insert(graph, call.node.name, node, affine_grid(low, high, _BITS))
        added += 1
    return added


def _is_eight(part: LayerParts, least_bits: int) -> bool:
    return all(
        isinstance(side, CodedWeight | QuantizationGrid)
        and integer_type(side.quant_min, side.quant_max, part.name, least_bits=least_bits).bits
        == _BITS
        for side in (part.weight, part.input)
    )


def _ranges(
    model: nn.Module, names: Iterable[str], batches: Iterable[tuple[Any, ...]]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Least and largest output of every layer."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def observe(name: str, output: Tensor) -> None:
        low, high = found.get(name, (output.min(), output.max()))
        found[name] = torch.minimum(low, output.min()), torch.maximum(high, output.max())

    layers = layers_of(model, names)
    handles = [
        layer.register_forward_hook(lambda _m, _a, output, name=name: observe(name, output))
        for name, layer in layers.items()
    ]
    try:
        with evaluation_mode(model):
            for inputs in batches:
                model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    if missing := [name for name in layers if name not in found]:
        raise MeasurementError(f"layer {missing[0]!r} did not run on any batch")
    return found


def _bounds(graph: Graph, node: Any) -> tuple[float, float]:
    """Between what a ReLU keeps its values, or a Clip whose bounds are constants."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    constants = {n.output[0]: n.attribute[0].t for n in graph.nodes if n.op_type == "Constant"}
    known = [constants.get(name) for name in (*node.input[1:], "", "")]
    low, high = (
        default if tensor is None else float(graph.onnx.numpy_helper.to_array(tensor))
        for tensor, default in zip(known[:2], (-math.inf, math.inf), strict=True)
    )
    return low, high


def _readers(graph: Graph, node: Any) -> list[Any]:
    if any(output.name == node.output[0] for output in graph.proto.graph.output):
        return []
    return [reader for reader in graph.nodes if node.output[0] in reader.input]


def _insert(graph: Graph, layer: str, node: Any, grid: QuantizationGrid) -> None:
    """Put the pair behind the node; who read the node reads what it decodes."""
    types, output, stem = graph.onnx.TensorProto, node.output[0], f"{layer}.output"
    kind = integer_type(grid.quant_min, grid.quant_max, layer)
    names = [f"{stem}_scale", f"{stem}_zero_point"]
    zero_point = grid.zero_point.reshape(1).numpy()
    node.output[0] = f"{stem}_float"
    added = [
        graph.scalar(names[0], grid.scale.numpy().astype("<f4").tobytes(), types.FLOAT),
        graph.scalar(names[1], raw_bytes(zero_point, kind), getattr(types, kind.name)),
        graph.node("QuantizeLinear", [f"{stem}_float", *names], f"{stem}_codes"),
        graph.node("DequantizeLinear", [f"{stem}_codes", *names], output),
    ]
    for new in reversed(added):
        graph.after(node, new)
