"""Export as TensorQuantOverrides: ONNX Runtime's own quantizer takes our scales and zero points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from bitwright.problems.errors import InputError
from bitwright.quantization.export.codes import CodedWeight, FactoredWeight
from bitwright.quantization.export.graph import Graph, LayerNode, float_graph, require
from bitwright.quantization.export.parts import DynamicRange, LayerParts, take_apart
from bitwright.quantization.export.qdq import calls_of, opset_of
from bitwright.quantization.export.report import Export, Stored
from bitwright.quantization.export.types import IntegerType, code_bits, integer_type
from bitwright.quantization.grids import QuantizationGrid


@dataclass(frozen=True, eq=False)
class Overrides:
    """`TensorQuantOverrides` by tensor, as plain values, and the float model whose tensors they name.

    `excluded` names the nodes to leave in float (`nodes_to_exclude`). A `quant_type` is the name of
    a member of `onnxruntime.quantization.QuantType`.
    """

    tensors: dict[str, list[dict[str, Any]]]
    excluded: tuple[str, ...]
    float_model: Export


def export_overrides(model: nn.Module, inputs: tuple[Any, ...]) -> Overrides:
    """Scales and zero points of a quantized model for `onnxruntime.quantization.quantize_static`.

    Types are 4, 8 and 16 bits wide: narrower codes are held by the next wider one, and ONNX Runtime
    does not clip them to their grid. Raises `InputError` for layers that read one tensor by
    different grids, for layers that are quantized on one side only or cast, and for what
    `take_apart` refuses.
    """
    parts = take_apart(model, inputs)
    if parts.outputs:
        raise InputError(
            f"layer {next(iter(parts.outputs))!r}: ONNX Runtime's quantizer chooses itself which "
            "outputs it rounds; variant 'integer' cannot be told to it"
        )
    opset = max(map(opset_of, parts.layers.values()))
    graph = float_graph(parts.model, parts.inputs, opset=opset, dynamic_batch=True)
    tensors: dict[str, list[dict[str, Any]]] = {}
    for call in calls_of(graph, parts):
        _turn(graph, call, parts.layers[call.layer])
        for tensor, overrides in _of_layer(call, parts.layers[call.layer]).items():
            if tensors.setdefault(tensor, overrides) != overrides:
                raise InputError(
                    f"layer {call.layer!r} reads tensor {tensor!r} by another grid than the layer "
                    "before it; TensorQuantOverrides hold one grid for a tensor"
                )
    graph.remove_unused()
    computing = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    known = {call.node.name for call in calls_of(graph, parts)}
    excluded = tuple(n.name for n in graph.nodes if n.op_type in computing and n.name not in known)
    stored = {name: _stored(part) for name, part in parts.layers.items()}
    return Overrides(tensors, excluded, Export("ort-overrides", graph.proto, stored, []))


def _of_layer(call: LayerNode, part: LayerParts) -> dict[str, list[dict[str, Any]]]:
    weight, grid = _integer_sides(part)
    attributes = {attribute.name: attribute.i for attribute in call.node.attribute}
    if call.node.op_type == "ConvTranspose" and attributes.get("group", 1) > 1:
        raise InputError(
            f"layer {part.name!r}: ONNX Runtime's quantizer knows no scales that the groups of a "
            "transposed convolution share"
        )
    input_: dict[str, Any] = {
        "quant_type": f"Q{_wide(grid, part.name).name_for_runtime}",
        "scale": float(grid.scale.detach()),
        "zero_point": int(grid.zero_point),
    }
    axis = weight.channel_axis
    if axis is not None and call.node.op_type == "MatMul":
        axis = 1 - axis
    kind = _wide(weight, part.name).name_for_runtime
    channels = [
        {"quant_type": f"Q{kind}", "scale": float(s), "zero_point": int(z)}
        for s, z in zip(np.atleast_1d(weight.scale), np.atleast_1d(weight.zero_point), strict=True)
    ]
    if axis is not None:
        channels[0] = {"axis": axis, **channels[0]}
    return {call.node.input[0]: [input_], call.weight: channels}


def _integer_sides(part: LayerParts) -> tuple[CodedWeight, QuantizationGrid]:
    if isinstance(part.weight, CodedWeight) and isinstance(part.input, QuantizationGrid):
        return part.weight, part.input
    if isinstance(part.weight, FactoredWeight):
        reason = "layers with one weight; this one has two factors ('svd-K')"
    elif isinstance(part.input, DynamicRange):
        reason = "layers whose inputs have fixed ranges"
    else:
        reason = "layers that have integers on both sides"
    raise InputError(f"layer {part.name!r}: ONNX Runtime's quantizer takes {reason}")


@dataclass(frozen=True)
class _Wide:
    kind: IntegerType

    @property
    def name_for_runtime(self) -> str:
        """`Int8` or `UInt8`; nothing narrower than 4 bits is known there."""
        return f"{'UInt' if self.kind.low == 0 else 'Int'}{max(self.kind.bits, 4)}"


def _wide(grid: CodedWeight | QuantizationGrid, layer: str) -> _Wide:
    return _Wide(integer_type(grid.quant_min, grid.quant_max, layer))


def _turn(graph: Graph, call: LayerNode, part: LayerParts) -> None:
    """Store the weight as the product reads it: a transposition would hide it from the quantizer."""
    if call.transpose is None or call.node.input[1] == call.weight:
        return
    if isinstance(part.weight, CodedWeight):
        if graph.initializer(call.weight).dims == part.weight.codes.shape[::-1]:
            call.node.input[1] = call.weight  # turned at an earlier call
            return
        graph.drop_initializer(call.weight)
        graph.add_array(call.weight, part.weight.values.T)
        call.node.input[1] = call.weight


def _stored(part: LayerParts) -> Stored:
    weight, grid = _integer_sides(part)
    return Stored(
        code_bits(weight.quant_min, weight.quant_max),
        _wide(weight, part.name).name_for_runtime.lower(),
        code_bits(grid.quant_min, grid.quant_max),
        _wide(grid, part.name).name_for_runtime.lower(),
    )


def for_runtime(tensors: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Any]]:
    """The overrides as `quantize_static` takes them in `extra_options`: enumerations and arrays."""
    quant_types = require("onnxruntime.quantization").QuantType
    helper = require("onnx").helper

    def converted(override: Mapping[str, Any]) -> dict[str, Any]:
        kind = quant_types[override["quant_type"]]
        dtype = helper.tensor_dtype_to_np_dtype(kind.tensor_type)
        return {
            **override,
            "quant_type": kind,
            "scale": np.array(override["scale"], dtype=np.float32),
            "zero_point": np.array(override["zero_point"]).astype(dtype),
        }

    return {name: [converted(o) for o in overrides] for name, overrides in tensors.items()}
