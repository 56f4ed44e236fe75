"""One operation as an ONNX model, in float32 or quantized as inside a quantized network."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bitwright.measuring.models import float_model, serialized
from bitwright.measuring.operations import Operation
from bitwright.networks import read_network
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.quantization import calibrate, quantized_copy
from bitwright.quantization.export import export_qdq
from bitwright.quantization.export.graph import Graph

_LAYER = "0"


def operation_model(operation: Operation, precision: Precision) -> bytes:
    """The operation as an ONNX model for one batch size, with random values of its own.

    Quantized, it takes the codes that the layer before it leaves, and gives those that the next one
    reads, so that it holds no conversion; only a product that no activation follows gives float32,
    as the last layer of a network does. Raises `InputError` for what no export can hold.
    """
    sample = torch.randn(operation.input_shape, generator=torch.Generator().manual_seed(0))
    alone = nn.Sequential(*(copy.deepcopy(module) for module in operation.modules)).eval()
    if precision.is_float32:
        return float_model(alone, (sample,))
    return serialized(_quantized(alone, sample, precision).proto)


def _quantized(alone: nn.Sequential, sample: Tensor, precision: Precision) -> Graph:
    inputs = (sample,)
    network = read_network(alone, inputs).description
    calibration = calibrate(
        alone, network, [inputs], weight_rule="minmax", activation_rule="minmax"
    )
    quantized = quantized_copy(alone, BitConfiguration({_LAYER: precision}), calibration)
    export = export_qdq(quantized, inputs, dynamic_batch=False, output_batches=[inputs], widen=True)
    graph = Graph(export.proto)
    if precision.activation_bits < 32 and not precision.variant:
        if len(alone) > 1 or not isinstance(alone[0], nn.Linear):
            with torch.no_grad():
                _round_output(graph, alone(sample))
        _take_codes(graph)
    return graph


def _round_output(graph: Graph, output: Tensor) -> None:
    """Let the model give codes."""
    made = graph.proto.graph.output[0]
    last = next(node for node in graph.nodes if made.name in node.output)
    if last.op_type == "DequantizeLinear":
        codes, zero_point = last.input[0], last.input[2]
        graph.nodes.remove(last)
        kind = _type_of(graph, zero_point)
        last = next(node for node in graph.nodes if codes in node.output)
    else:
        low, high = min(float(output.min()), 0.0), max(float(output.max()), 0.0)
        scale = max(high - low, 1e-6) / 255
        codes, kind = f"{made.name}_codes", graph.onnx.TensorProto.UINT8
        names = [f"{codes}_scale", f"{codes}_zero_point"]
        graph.add_array(names[0], np.array(scale, np.float32))
        graph.add_array(names[1], np.array(round(-low / scale), np.uint8))
        graph.nodes.append(graph.node("QuantizeLinear", [made.name, *names], codes))
    made.name = codes
    made.type.tensor_type.elem_type = kind


def _take_codes(graph: Graph) -> None:
    """Let the model take codes."""
    given = graph.proto.graph.input[0]
    (first,) = (node for node in graph.nodes if given.name in node.input)
    if first.op_type != "QuantizeLinear":
        raise InputError(f"the input is not rounded as a whole, but by {first.op_type}")
    kind = _type_of(graph, first.input[2])
    codes = first.output[0]
    graph.nodes.remove(first)
    for node in graph.nodes:
        node.input[:] = [given.name if name == codes else name for name in node.input]
    given.type.tensor_type.elem_type = kind


def _type_of(graph: Graph, name: str) -> Any:
    """The type of a zero point, which is that of the codes."""
    for node in graph.nodes:
        if name in node.output:
            return node.attribute[0].t.data_type
    return graph.initializer(name).data_type
