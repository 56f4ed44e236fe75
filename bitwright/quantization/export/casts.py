"""Sides of a layer that are rounded to a shorter floating-point type, in the QDQ form."""

from __future__ import annotations

from typing import Any

import torch

from bitwright.quantization.export.graph import Graph, LayerNode

_ONNX_NAMES = {torch.float16: "FLOAT16", torch.bfloat16: "BFLOAT16"}

Shared = dict[tuple[Any, ...], str]
"""Tensors that several layers read alike, by how each was made."""


def compute_in_half(graph: Graph, call: LayerNode, shared: Shared) -> None:
    """Run the node itself in float16, between casts."""
    types, node = graph.onnx.TensorProto, call.node
    _shorten_weight(graph, call, torch.float16)
    source = node.input[0]
    key = (source, torch.float16, "half")
    if key not in shared:
        shared[key] = f"{node.name}.input_half"
        graph.before(node, graph.node("Cast", [source], shared[key], to=types.FLOAT16))
    node.input[0] = shared[key]
    if len(node.input) == 3:
        bias = f"{node.name}.bias_half"
        graph.before(node, graph.node("Cast", [node.input[2]], bias, to=types.FLOAT16))
        node.input[2] = bias
    output = node.output[0]
    node.output[0] = f"{node.name}.output_half"
    graph.after(node, graph.node("Cast", [node.output[0]], output, to=types.FLOAT))


def round_input(graph: Graph, call: LayerNode, dtype: torch.dtype, shared: Shared) -> str:
    """Round what the layer reads to the type; returns it in float32."""
    node, source = call.node, call.node.input[0]
    key = (source, dtype)
    if key not in shared:
        types, name = graph.onnx.TensorProto, f"{node.name}.input_{type_name(dtype)}"
        there = graph.node("Cast", [source], name, to=getattr(types, _ONNX_NAMES[dtype]))
        back = graph.node("Cast", [name], f"{name}_rounded", to=types.FLOAT)
        graph.before(node, there, back)
        shared[key] = f"{name}_rounded"
    return shared[key]


def round_weight(graph: Graph, call: LayerNode, dtype: torch.dtype, shared: Shared) -> None:
    """Store the weight in its short type, and cast it back to float32."""
    _shorten_weight(graph, call, dtype)
    reader, place = (call.node, 1) if call.transpose is None else (call.transpose, 0)
    key = ("weight", call.layer)
    if key not in shared:
        shared[key] = f"{call.layer}.weight_float"
        types = graph.onnx.TensorProto
        graph.before(reader, graph.node("Cast", [call.weight], shared[key], to=types.FLOAT))
    reader.input[place] = shared[key]


def type_name(dtype: torch.dtype) -> str:
    """`float16` or `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def _shorten_weight(graph: Graph, call: LayerNode, dtype: torch.dtype) -> None:
    """Store the layer's weight in the type."""
    types = graph.onnx.TensorProto
    tensor = graph.initializer(call.weight)
    if tensor.data_type != types.FLOAT:
        return  # done at the layer's first call
    values = torch.from_numpy(graph.onnx.numpy_helper.to_array(tensor).copy())
    tensor.raw_data = values.to(dtype).view(torch.int16).numpy().astype("<i2").tobytes()
    tensor.data_type = getattr(types, _ONNX_NAMES[dtype])
