"""Turning a float ONNX graph into the QDQ form: codes and grids around the nodes of its layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bitwright.quantization.export.casts import Shared, compute_in_half, round_input, round_weight
from bitwright.quantization.export.codes import CodedWeight, FactoredWeight
from bitwright.quantization.export.graph import Graph, LayerNode
from bitwright.quantization.export.marks import Mark
from bitwright.quantization.export.parts import DynamicRange, LayerParts
from bitwright.quantization.export.types import IntegerType, integer_type, raw_bytes
from bitwright.quantization.grids import QuantizationGrid


@dataclass
class Surgery:
    """The graph being quantized, with what its layers share so far.

    Codes are stored in types of `least_bits` or more.
    """

    graph: Graph
    least_bits: int = 0
    shared: Shared = field(default_factory=dict)

    def quantize(self, call: LayerNode, part: LayerParts) -> None:
        """Put the layer's codes and grids around one of its calls."""
        weight = part.weight
        if weight is torch.float16 and part.input is torch.float16:
            compute_in_half(self.graph, call, self.shared)
            return
        if part.input is not None:
            call.node.input[0] = self._input(call, part.input)
        if isinstance(weight, torch.dtype):
            round_weight(self.graph, call, weight, self.shared)
        elif weight is not None:
            if isinstance(part.input, QuantizationGrid):
                first = weight.right if isinstance(weight, FactoredWeight) else weight
                self._keep_apart(call, first, part.input)
            if isinstance(weight, FactoredWeight):
                self._multiply_first(call, weight.right)
                self._decode_weight(call, weight.left, f"{call.layer}.weight_left")
            else:
                self._decode_weight(call, weight, f"{call.layer}.weight")

    def round_output(self, mark: Mark, grid: QuantizationGrid) -> None:
        """Put a grid in the place of a mark."""
        added, output = self._pair(mark.name, mark.node.input[0], grid, mark.layer)
        self.graph.before(mark.node, *added)
        self.graph.replace(mark.node, output)

    def _input(self, call: LayerNode, grid: QuantizationGrid | DynamicRange | torch.dtype) -> str:
        source, stem = call.node.input[0], f"{call.node.name}.input"
        if isinstance(grid, torch.dtype):
            return round_input(self.graph, call, grid, self.shared)
        key: tuple[Any, ...] = (source, grid)
        if isinstance(grid, QuantizationGrid):
            scale, zero_point = grid.scale.detach().cpu().item(), int(grid.zero_point)
            key = (source, scale, zero_point, grid.quant_min, grid.quant_max)
        if key not in self.shared:
            if isinstance(grid, DynamicRange):
                added, self.shared[key] = self._dynamic_pair(stem, source)
            else:
                added, self.shared[key] = self._pair(stem, source, grid, call.layer)
            self.graph.before(call.node, *added)
        return self.shared[key]

    def _pair(
        self, stem: str, source: str, grid: QuantizationGrid, layer: str
    ) -> tuple[list[Any], str]:
        """Nodes that round a tensor to a grid, and the tensor that comes out."""
        graph, types = self.graph, self.graph.onnx.TensorProto
        kind = self._type_of(grid, layer)
        scale = np.float32(grid.scale.detach().cpu().item())
        zero_point = np.array([int(grid.zero_point)])
        grid_names = [f"{stem}_scale", f"{stem}_zero_point"]
        added = [
            graph.scalar(grid_names[0], scale.tobytes(), types.FLOAT),
            graph.scalar(grid_names[1], raw_bytes(zero_point, kind), getattr(types, kind.name)),
        ]
        bounds, codes = (grid.quant_min, grid.quant_max), f"{stem}_codes"
        if self.least_bits and bounds != (kind.low, kind.high):
            added.append(graph.node("QuantizeLinear", [source, *grid_names], f"{codes}_wide"))
            added += self._clipped_codes(codes, bounds, kind)
            added.append(graph.node("DequantizeLinear", [codes, *grid_names], f"{stem}_quantized"))
            return added, f"{stem}_quantized"
        if kind.bits < 8 or bounds != (kind.low, kind.high):
            levels = np.array(bounds) - zero_point
            added += self._clipped(stem, source, *(levels.astype(np.float32) * scale))
            source = f"{stem}_clipped"
        added += [
            graph.node("QuantizeLinear", [source, *grid_names], codes),
            graph.node("DequantizeLinear", [codes, *grid_names], f"{stem}_quantized"),
        ]
        return added, f"{stem}_quantized"

    def _type_of(self, side: QuantizationGrid | CodedWeight, layer: str) -> IntegerType:
        return integer_type(side.quant_min, side.quant_max, layer, least_bits=self.least_bits)

    def _clipped_codes(self, codes: str, bounds: tuple[int, int], kind: IntegerType) -> list[Any]:
        """Nodes that clip codes in a wider type, so that convolutions still give and take codes."""
        graph, names = self.graph, [f"{codes}_low", f"{codes}_high"]
        onnx_type = getattr(graph.onnx.TensorProto, kind.name)
        constants = [
            graph.scalar(name, raw_bytes(np.array([bound]), kind), onnx_type)
            for name, bound in zip(names, bounds, strict=True)
        ]
        return [*constants, graph.node("Clip", [f"{codes}_wide", *names], codes)]

    def _dynamic_pair(self, stem: str, source: str) -> tuple[list[Any], str]:
        """The same over the tensor's own extremes."""
        names = [f"{stem}_codes", f"{stem}_scale", f"{stem}_zero_point"]
        make = self.graph.onnx.helper.make_node
        quantize = make("DynamicQuantizeLinear", [source], names, name=names[0])
        decode = self.graph.node("DequantizeLinear", names, f"{stem}_quantized")
        return [quantize, decode], f"{stem}_quantized"

    def _clipped(self, stem: str, source: str, low: np.float32, high: np.float32) -> list[Any]:
        """Nodes that clip a tensor; two, because ONNX Runtime (1.31) fails on a `Clip` before 4 bits."""
        graph, types = self.graph, self.graph.onnx.TensorProto
        return [
            graph.scalar(f"{stem}_low", low.tobytes(), types.FLOAT),
            graph.scalar(f"{stem}_high", high.tobytes(), types.FLOAT),
            graph.node("Max", [source, f"{stem}_low"], f"{stem}_raised"),
            graph.node("Min", [f"{stem}_raised", f"{stem}_high"], f"{stem}_clipped"),
        ]

    def _keep_apart(self, call: LayerNode, weight: CodedWeight, grid: QuantizationGrid) -> None:
        """Put a step that changes nothing between the layer and its decoded input.

        ONNX Runtime (1.31) otherwise joins layer and codes into integer operators that exist for 8
        bits only: it then fails to load the model or, with 16 bits, computes something else.
        """
        kinds = [self._type_of(side, call.layer) for side in (weight, grid)]
        if kinds[1].bits == 8 and kinds[0].bits != 2:
            return
        graph, types = self.graph, self.graph.onnx.TensorProto
        source, low = call.node.input[0], f"{call.node.name}.input_least"
        least = np.finfo(np.float32).min.tobytes()
        clip = graph.node("Clip", [source, low], f"{call.node.name}.input_apart")
        graph.before(call.node, graph.scalar(low, least, types.FLOAT), clip)
        call.node.input[0] = clip.output[0]

    def _decode_weight(self, call: LayerNode, weight: CodedWeight, stem: str) -> None:
        """Let the layer read codes, decoded; they are stored at its first call."""
        turned = call.transpose is not None and self._can_turn(weight, call.layer)
        reader = call.node if call.transpose is None or turned else call.transpose
        output = self._decoded(stem, weight.transposed if turned else weight, call, reader)
        reader.input[1 if reader is call.node else 0] = output

    def _multiply_first(self, call: LayerNode, right: CodedWeight) -> None:
        """Let the layer read the product of its input and its right factor."""
        graph, node, stem = self.graph, call.node, f"{call.layer}.weight_right"
        if self._can_turn(right, call.layer):
            factor = self._decoded(stem, right.transposed, call, node)
        else:
            turn = graph.node(
                "Transpose",
                [self._decoded(stem, right, call, node)],
                f"{node.name}.weight_right_turned",
            )
            graph.before(node, turn)
            factor = turn.output[0]
        product = graph.node("MatMul", [node.input[0], factor], f"{node.name}.product")
        graph.before(node, product)
        node.input[0] = product.output[0]

    def _decoded(self, stem: str, weight: CodedWeight, call: LayerNode, reader: Any) -> str:
        """The tensor of decoded weights; codes and scales are stored when it is first asked for."""
        key = ("weight", stem)
        if key in self.shared:
            return self.shared[key]
        graph, kind = self.graph, self._type_of(weight, call.layer)
        onnx_type = getattr(graph.onnx.TensorProto, kind.name)
        if stem == f"{call.layer}.weight":
            graph.drop_initializer(call.weight)
        shape = list(weight.codes.shape)
        names = [
            graph.add_initializer(stem, raw_bytes(weight.codes, kind), onnx_type, shape),
            graph.add_array(f"{stem}_scale", weight.scale),
        ]
        zero_point = f"{stem}_zero_point"
        data, shape = raw_bytes(weight.zero_point, kind), list(weight.zero_point.shape)
        if weight.zero_point.any():
            names.append(graph.add_initializer(zero_point, data, onnx_type, shape))
        elif kind.bits == 8 and reader.op_type in ("Gemm", "MatMul"):
            # ONNX Runtime (1.31) multiplies in integers only where zero points are written out.
            graph.before(reader, graph.constant(zero_point, data, onnx_type, shape))
            names.append(zero_point)
        where = {} if weight.channel_axis is None else {"axis": weight.channel_axis}
        graph.before(reader, graph.node("DequantizeLinear", names, f"{stem}_dequantized", **where))
        self.shared[key] = f"{stem}_dequantized"
        return self.shared[key]

    def _can_turn(self, weight: CodedWeight, layer: str) -> bool:
        """Whether a product may read the codes as it wants them.

        Not so 2-bit ones, which ONNX Runtime (1.31) would join with the product into a MatMulNBits
        that computes something else.
        """
        return self._type_of(weight, layer).bits != 2
