"""Export as QONNX: quantizers of any bit-width around float operators, for FINN and hls4ml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bitwright.problems.errors import InputError
from bitwright.quantization.export.codes import CodedWeight, FactoredWeight
from bitwright.quantization.export.graph import LOWEST_OPSET, Graph, LayerNode, float_graph
from bitwright.quantization.export.marks import Mark, marks_in
from bitwright.quantization.export.parts import DynamicRange, LayerParts, take_apart
from bitwright.quantization.export.qdq import calls_of
from bitwright.quantization.export.report import Export, Stored
from bitwright.quantization.export.types import code_bits
from bitwright.quantization.grids import QuantizationGrid

DOMAIN = "qonnx.custom_op.general"


def export_qonnx(
    model: nn.Module, inputs: tuple[Any, ...], *, operator: str = "IntQuant"
) -> Export:
    """A quantized model as QONNX, in evaluation mode, with the shapes of the inputs given.

    Weights are float32 initializers, already on their grid, behind a quantizer with a scale per
    channel; the input of a layer goes through one quantizer, which layers that read the same tensor
    by the same grid share. `operator` is the quantizers' name: `IntQuant`, or `Quant`, as older
    releases of qonnx, FINN and hls4ml call it. Batch norms are kept. Linear
    layers are MatMul and Add; a weight of variant `svd-K` is two MatMuls with a quantizer for each
    factor, and outputs of variant `integer` go through a quantizer. Raises `InputError` for float16
    layers and dynamic ranges, which QONNX has no quantizer for, and what `take_apart` refuses.
    """
    parts = take_apart(model, inputs, fold_norms=False)
    graph = float_graph(parts.model, parts.inputs, opset=LOWEST_OPSET, dynamic_batch=False)
    surgery = _Surgery(graph, operator)
    for call in calls_of(graph, parts):
        surgery.quantize(call, parts.layers[call.layer])
    for mark in marks_in(graph):
        surgery.round_output(mark, parts.outputs[mark.layer])
    graph.remove_unused()
    graph.proto.opset_import.append(graph.onnx.helper.make_opsetid(DOMAIN, 1))
    stored = {name: _stored(part) for name, part in parts.layers.items()}
    return Export("qonnx", graph.proto, stored, [])


@dataclass
class _Surgery:
    graph: Graph
    operator: str
    read: dict[tuple[Any, ...], str] = field(default_factory=dict)
    weights: dict[tuple[str, bool], str] = field(default_factory=dict)

    def quantize(self, call: LayerNode, part: LayerParts) -> None:
        """Put quantizers before the layer's input and weight."""
        if isinstance(part.input, torch.dtype) or isinstance(part.weight, torch.dtype):
            raise InputError(
                f"layer {part.name!r}: QONNX has no quantizer to a floating-point type"
            )
        if isinstance(part.input, DynamicRange):
            raise InputError(f"layer {part.name!r}: QONNX has no quantizer with a dynamic range")
        self._as_product(call)
        if part.input is not None:
            call.node.input[0] = self._input(call, part.input)
        if isinstance(part.weight, FactoredWeight):
            self._multiply_first(call, part.weight.right)
            call.node.input[1] = self._weight(call, part.weight.left, "weight_left")
        elif part.weight is not None:
            call.node.input[1] = self._weight(call, part.weight, "weight")

    def round_output(self, mark: Mark, grid: QuantizationGrid) -> None:
        """Put a quantizer in the place of a mark."""
        quant = self._of_grid(mark.name, mark.node.input[0], grid)
        self.graph.before(mark.node, quant)
        self.graph.replace(mark.node, quant.output[0])

    def _input(self, call: LayerNode, grid: QuantizationGrid) -> str:
        source, scale = call.node.input[0], grid.scale.detach().cpu().item()
        key = (source, scale, int(grid.zero_point), grid.quant_min, grid.quant_max)
        if key not in self.read:
            quant = self._of_grid(f"{call.node.name}.input", source, grid)
            self.graph.before(call.node, quant)
            self.read[key] = quant.output[0]
        return self.read[key]

    def _of_grid(self, name: str, source: str, grid: QuantizationGrid) -> Any:
        scale, zero_point = grid.scale.detach().cpu().numpy(), np.float32(int(grid.zero_point))
        return self._quant(name, source, scale, zero_point, (grid.quant_min, grid.quant_max))

    def _multiply_first(self, call: LayerNode, right: CodedWeight) -> None:
        """Let the layer read the product of its input and its right factor."""
        node = call.node
        factor = self._weight(call, right, "weight_right")
        product = self.graph.node("MatMul", [node.input[0], factor], f"{node.name}.right")
        self.graph.before(node, product)
        node.input[0] = product.output[0]

    def _weight(self, call: LayerNode, weight: CodedWeight, side: str) -> str:
        turned = call.node.op_type == "MatMul"
        name = f"{call.layer}.{side}"
        if (name, turned) in self.weights:
            return self.weights[name, turned]
        weight = weight.transposed if turned else weight
        scale, zero_point = weight.scale, weight.zero_point.astype(np.float32)
        if weight.channel_axis is not None:
            shape = [1] * weight.codes.ndim
            shape[weight.channel_axis] = -1
            scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
        stored = call.weight if side == "weight" else name
        if side == "weight":
            self.graph.drop_initializer(stored)
        source = self.graph.add_array(stored, weight.values)
        quant = self._quant(name, source, scale, zero_point, (weight.quant_min, weight.quant_max))
        self.graph.before(call.node, quant)
        self.weights[name, turned] = quant.output[0]
        return self.weights[name, turned]

    def _quant(
        self,
        name: str,
        source: str,
        scale: NDArray[Any],
        zero_point: Any,
        codes: tuple[int, int],
    ) -> Any:
        quant_min, quant_max = codes
        signed, bits = quant_min < 0, code_bits(quant_min, quant_max)
        narrow = signed and quant_min == -quant_max
        top = 2 ** (bits - 1) if signed else 2**bits
        if (quant_min, quant_max) != ((narrow - top, top - 1) if signed else (0, top - 1)):
            raise InputError(
                f"{name}: codes from {quant_min} to {quant_max} are no whole range of {bits} bits, "
                "which QONNX quantizers have"
            )
        inputs = [
            source,
            self.graph.add_array(f"{name}_scale", np.asarray(scale, dtype=np.float32)),
            self.graph.add_array(f"{name}_zero_point", np.asarray(zero_point, dtype=np.float32)),
            self.graph.add_array(f"{name}_bits", np.array(bits, dtype=np.float32)),
        ]
        return self.graph.node(
            self.operator,
            inputs,
            f"{name}_quantized",
            domain=DOMAIN,
            signed=int(signed),
            narrow=int(narrow),
            rounding_mode="ROUND",
        )

    def _as_product(self, call: LayerNode) -> None:
        """Write Gemm as MatMul and Add, in place: the first is what QONNX tools expect."""
        node = call.node
        if node.op_type != "Gemm":
            return
        del node.attribute[:]
        node.op_type = "MatMul"
        if len(node.input) == 3:
            bias, output = node.input[2], node.output[0]
            del node.input[2]
            node.output[0] = f"{node.name}.product"
            self.graph.after(node, self.graph.node("Add", [node.output[0], bias], output))


def _stored(part: LayerParts) -> Stored:
    def bits(side: Any) -> int:
        return 32 if side is None else code_bits(side.quant_min, side.quant_max)

    weight = part.weight
    factors = weight if isinstance(weight, FactoredWeight) else None
    return Stored(
        bits(weight if factors is None else factors.left),
        "float32",
        bits(part.input),
        "float32",
        rank=None if factors is None else factors.rank,
        output=None if part.output is None else (bits(part.output), "float32"),
    )
