"""Export as ONNX with QuantizeLinear and DequantizeLinear: codes are stored, and every tool can run it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from bitwright.problems.errors import InputError
from bitwright.quantization.export.graph import (
    LOWEST_OPSET,
    Graph,
    LayerNode,
    float_graph,
    layer_nodes,
)
from bitwright.quantization.export.outputs import add_output_grids
from bitwright.quantization.export.parts import CodedWeight, LayerParts, NetworkParts, take_apart
from bitwright.quantization.export.report import Export, Stored
from bitwright.quantization.export.types import IntegerType, code_bits, integer_type, raw_bytes
from bitwright.quantization.grids import QuantizationGrid

_FLOAT_NAMES = {torch.float16: "FLOAT16", torch.bfloat16: "BFLOAT16"}


def export_qdq(
    model: nn.Module,
    inputs: tuple[Any, ...],
    *,
    dynamic_batch: bool = True,
    output_batches: Iterable[tuple[Any, ...]] | None = None,
) -> Export:
    """A quantized model as ONNX in the QDQ form, in evaluation mode; `inputs` are for one run.

    Weights are stored as codes in the narrowest of ONNX's integer types that holds them (2, 4, 8,
    16 bits) with a scale per channel, and decoded by DequantizeLinear; the input of a layer goes
    through one QuantizeLinear and DequantizeLinear, which layers that read the same tensor by the
    same grid share. Codes of other widths are clipped to their grid. Batch norms that follow a
    layer go into its scales and bias. Biases stay float32. A layer that is float16 on both sides
    computes in float16; other casts round and leave the computation in float32. The opset is the
    lowest that has the types.

    With `output_batches`, convolutions in 8 bits on both sides round their outputs to 8 bits as
    well, over the range that these batches show, where their result is not quantized anyway (in
    front of a residual addition): ONNX Runtime then computes them in integers, and much faster, but
    this rounding is not part of the model. Raises `InputError` for more than 16 bits and for what
    `take_apart` refuses, `MeasurementError` where torch cannot export the model.
    """
    parts = take_apart(model, inputs)
    opset = max((opset_of(part) for part in parts.layers.values()), default=LOWEST_OPSET)
    graph = float_graph(parts.model, parts.inputs, opset=opset, dynamic_batch=dynamic_batch)
    surgery = _Surgery(graph)
    calls = calls_of(graph, parts)
    for call in calls:
        surgery.quantize(call, parts.layers[call.layer])
    stored = {name: _stored(part) for name, part in parts.layers.items()}
    notes = surgery.notes(stored, parts.norms)
    if output_batches is not None:
        added = add_output_grids(graph, calls, parts, output_batches)
        notes.append(
            f"{added} outputs of convolutions rounded to 8 bits, which the model does not do"
        )
    graph.remove_unused()
    return Export("qdq", graph.proto, stored, notes)


def calls_of(graph: Graph, parts: NetworkParts) -> list[LayerNode]:
    """The nodes of the quantized layers; raises `InputError` for a layer that has none."""
    calls = [c for c in layer_nodes(graph, parts.model) if c.layer in parts.layers]
    missing = [name for name in parts.layers if name not in {call.layer for call in calls}]
    if missing:
        raise InputError(
            f"layer {missing[0]!r} is quantized, but the model does not run it on these inputs"
        )
    return calls


@dataclass
class _Surgery:
    """The graph being quantized, with what its layers share so far."""

    graph: Graph
    read: dict[tuple[Any, ...], str] = field(default_factory=dict)
    decoded: dict[str, str] = field(default_factory=dict)

    def quantize(self, call: LayerNode, part: LayerParts) -> None:
        """Put the layer's codes and grids around one of its calls."""
        if part.weight is torch.float16 and part.input is torch.float16:
            self._compute_in_half(call)
            return
        if part.input is not None:
            call.node.input[0] = self._input(call, part.input)
        if isinstance(part.weight, CodedWeight):
            self._decode_weight(call, part.weight)
            if isinstance(part.input, QuantizationGrid):
                self._keep_apart(call, part.weight, part.input)
        elif part.weight is not None:
            self._round_weight(call, part.weight)

    def _input(self, call: LayerNode, grid: QuantizationGrid | torch.dtype) -> str:
        source = call.node.input[0]
        if isinstance(grid, torch.dtype):
            key: tuple[Any, ...] = (source, grid)
            if key not in self.read:
                self.read[key] = self._casts(call.node, source, grid)
            return self.read[key]
        scale, zero_point = grid.scale.detach().cpu().item(), int(grid.zero_point)
        key = (source, scale, zero_point, grid.quant_min, grid.quant_max)
        if key not in self.read:
            self.read[key] = self._quantized(call, source, grid)
        return self.read[key]

    def _quantized(self, call: LayerNode, source: str, grid: QuantizationGrid) -> str:
        graph, types = self.graph, self.graph.onnx.TensorProto
        kind = integer_type(grid.quant_min, grid.quant_max, call.layer)
        scale = np.float32(grid.scale.detach().cpu().item())
        zero_point = np.array([int(grid.zero_point)])
        stem = f"{call.node.name}.input"
        added = [
            graph.scalar(f"{stem}_scale", scale.tobytes(), types.FLOAT),
            graph.scalar(
                f"{stem}_zero_point", raw_bytes(zero_point, kind), getattr(types, kind.name)
            ),
        ]
        if kind.bits < 8 or (grid.quant_min, grid.quant_max) != (kind.low, kind.high):
            levels = np.array([grid.quant_min, grid.quant_max]) - zero_point
            added += self._clipped(stem, source, *(levels.astype(np.float32) * scale))
            source = f"{stem}_clipped"
        grid_names = [f"{stem}_scale", f"{stem}_zero_point"]
        added += [
            graph.node("QuantizeLinear", [source, *grid_names], f"{stem}_codes"),
            graph.node("DequantizeLinear", [f"{stem}_codes", *grid_names], f"{stem}_quantized"),
        ]
        graph.before(call.node, *added)
        return f"{stem}_quantized"

    def _decode_weight(self, call: LayerNode, weight: CodedWeight) -> None:
        """Let the layer read codes, decoded; the codes are stored at its first call."""
        kind = integer_type(weight.quant_min, weight.quant_max, call.layer)
        # A product reads the codes as it wants them. Not so 2-bit ones, which ONNX Runtime (1.31)
        # would join with the product into a MatMulNBits that computes something else.
        turned = call.transpose is not None and kind.bits != 2
        if (output := self.decoded.get(call.layer)) is None:
            output = self._store_codes(call, weight, kind, turned)
        if call.transpose is None or turned:
            call.node.input[1] = output
        else:
            call.transpose.input[0] = output

    def _store_codes(
        self, call: LayerNode, weight: CodedWeight, kind: IntegerType, turned: bool
    ) -> str:
        graph, onnx_type = self.graph, getattr(self.graph.onnx.TensorProto, kind.name)
        codes, axis = weight.codes, weight.channel_axis
        if turned:
            codes, axis = codes.T, None if axis is None else 1 - axis
        stem = f"{call.layer}.weight"
        graph.drop_initializer(call.weight)
        names = [
            graph.add_initializer(stem, raw_bytes(codes, kind), onnx_type, list(codes.shape)),
            graph.add_array(f"{stem}_scale", weight.scale),
        ]
        if weight.zero_point.any():
            data, shape = raw_bytes(weight.zero_point, kind), list(weight.zero_point.shape)
            names.append(graph.add_initializer(f"{stem}_zero_point", data, onnx_type, shape))
        output = self.decoded[call.layer] = f"{stem}_dequantized"
        where = {} if axis is None else {"axis": axis}
        decode = graph.node("DequantizeLinear", names, output, **where)
        graph.before(call.node if call.transpose is None else call.transpose, decode)
        return output

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
        kinds = [integer_type(g.quant_min, g.quant_max, call.layer) for g in (weight, grid)]
        if kinds[1].bits == 8 and kinds[0].bits != 2:
            return
        graph, types = self.graph, self.graph.onnx.TensorProto
        source, low = call.node.input[0], f"{call.node.name}.input_least"
        least = np.finfo(np.float32).min.tobytes()
        clip = graph.node("Clip", [source, low], f"{call.node.name}.input_apart")
        graph.before(call.node, graph.scalar(low, least, types.FLOAT), clip)
        call.node.input[0] = clip.output[0]

    def _round_weight(self, call: LayerNode, dtype: torch.dtype) -> None:
        """Store the weight in its short type, and cast it back to float32."""
        self._shorten_weight(call, dtype)
        reader, place = (call.node, 1) if call.transpose is None else (call.transpose, 0)
        if call.layer not in self.decoded:
            output = self.decoded[call.layer] = f"{call.layer}.weight_float"
            types = self.graph.onnx.TensorProto
            self.graph.before(
                reader, self.graph.node("Cast", [call.weight], output, to=types.FLOAT)
            )
        reader.input[place] = self.decoded[call.layer]

    def _shorten_weight(self, call: LayerNode, dtype: torch.dtype) -> None:
        """Store the layer's weight in the type."""
        types = self.graph.onnx.TensorProto
        tensor = self.graph.initializer(call.weight)
        if tensor.data_type != types.FLOAT:
            return  # done at the layer's first call
        values = torch.from_numpy(self.graph.onnx.numpy_helper.to_array(tensor).copy())
        tensor.raw_data = values.to(dtype).view(torch.int16).numpy().astype("<i2").tobytes()
        tensor.data_type = getattr(types, _FLOAT_NAMES[dtype])

    def _compute_in_half(self, call: LayerNode) -> None:
        """Run the node itself in float16, between casts."""
        graph, types, node = self.graph, self.graph.onnx.TensorProto, call.node
        self._shorten_weight(call, torch.float16)
        source = node.input[0]
        key = (source, torch.float16, "half")
        if key not in self.read:
            self.read[key] = f"{node.name}.input_half"
            graph.before(node, graph.node("Cast", [source], self.read[key], to=types.FLOAT16))
        node.input[0] = self.read[key]
        if len(node.input) == 3:
            bias = f"{node.name}.bias_half"
            graph.before(node, graph.node("Cast", [node.input[2]], bias, to=types.FLOAT16))
            node.input[2] = bias
        output = node.output[0]
        node.output[0] = f"{node.name}.output_half"
        graph.after(node, graph.node("Cast", [node.output[0]], output, to=types.FLOAT))

    def _casts(self, node: Any, source: str, dtype: torch.dtype) -> str:
        """Round a tensor to the type and return it in float32."""
        name = f"{node.name}.input_{_name(dtype)}"
        graph, types = self.graph, self.graph.onnx.TensorProto
        there = graph.node("Cast", [source], name, to=getattr(types, _FLOAT_NAMES[dtype]))
        back = graph.node("Cast", [name], f"{name}_rounded", to=types.FLOAT)
        graph.before(node, there, back)
        return f"{name}_rounded"

    def notes(self, stored: Mapping[str, Stored], norms: Mapping[str, str]) -> list[str]:
        """What somebody who runs the file should know."""
        lines = []
        wider = [name for name, one in stored.items() if one.is_wider]
        if wider:
            lines.append(
                f"{len(wider)} of {len(stored)} layers have codes of 3, 5, 6, 7 or other bits that "
                "ONNX has no type for: stored in the next wider type, activations clipped"
            )
        if norms:
            lines.append(f"{len(norms)} batch norms folded into scales and biases")
        if any("bfloat16" in (one.weight_type, one.input_type) for one in stored.values()):
            lines.append("bfloat16 is stored and rounded to; the layers compute in float32")
        return lines


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def opset_of(part: LayerParts) -> int:
    """The first opset that has the types of the layer's codes."""
    opset = LOWEST_OPSET
    for side in (part.weight, part.input):
        if isinstance(side, CodedWeight | QuantizationGrid):
            opset = max(opset, integer_type(side.quant_min, side.quant_max, part.name).opset)
    return opset


def _stored(part: LayerParts) -> Stored:
    def side(value: Any) -> tuple[int, str]:
        if isinstance(value, CodedWeight | QuantizationGrid):
            kind = integer_type(value.quant_min, value.quant_max, part.name)
            return code_bits(value.quant_min, value.quant_max), kind.label
        if value is None:
            return 32, "float32"
        return 16, _name(value)

    return Stored(*side(part.weight), *side(part.input))
