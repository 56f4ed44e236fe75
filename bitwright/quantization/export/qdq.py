"""Export as ONNX with QuantizeLinear and DequantizeLinear: codes are stored, and every tool can run it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from bitwright.problems.errors import InputError
from bitwright.quantization.export.casts import type_name
from bitwright.quantization.export.codes import CodedWeight, FactoredWeight
from bitwright.quantization.export.graph import (
    LOWEST_OPSET,
    Graph,
    LayerNode,
    float_graph,
    layer_nodes,
)
from bitwright.quantization.export.marks import marks_in
from bitwright.quantization.export.outputs import add_output_grids
from bitwright.quantization.export.parts import (
    DYNAMIC_BITS,
    DynamicRange,
    LayerParts,
    NetworkParts,
    take_apart,
)
from bitwright.quantization.export.report import Export, Stored
from bitwright.quantization.export.surgery import Surgery
from bitwright.quantization.export.types import code_bits, integer_type
from bitwright.quantization.grids import QuantizationGrid

WIDENED_BITS = 8
"""The narrowest type in which runtimes on processors compute."""


def export_qdq(
    model: nn.Module,
    inputs: tuple[Any, ...],
    *,
    dynamic_batch: bool = True,
    output_batches: Iterable[tuple[Any, ...]] | None = None,
    widen: bool = False,
) -> Export:
    """A quantized model as ONNX in the QDQ form, in evaluation mode; `inputs` are for one run.

    Weights are stored as codes in the narrowest of ONNX's integer types that holds them (2, 4, 8,
    16 bits) with a scale per channel, and decoded by DequantizeLinear; the input of a layer goes
    through one QuantizeLinear and DequantizeLinear, which layers that read the same tensor by the
    same grid share. Codes of other widths are clipped to their grid. Batch norms that follow a
    layer go into its scales and bias. Biases stay float32. A layer that is float16 on both sides
    computes in float16; other casts round and leave the computation in float32. The opset is the
    lowest that has the types. A weight of variant `svd-K` becomes two products, and the outputs of
    layers of variant `integer` go through a pair of nodes as well. Dynamic ranges in 8 bits are
    DynamicQuantizeLinear, which finds one range for a whole batch, as the model does.

    With `output_batches`, convolutions in 8 bits on both sides round their outputs to 8 bits as
    well, over the range that these batches show, where their result is not quantized anyway (in
    front of a residual addition): ONNX Runtime then computes them in integers, and much faster, but
    this rounding is not part of the model. `widen` stores codes of fewer than 8 bits in 8, for the
    same reason: narrower ones are decoded in every run, and the layer computes in float32. Raises `InputError` for more than 16 bits and for what
    `take_apart` refuses, `MeasurementError` where torch cannot export the model.
    """
    parts = take_apart(model, inputs)
    least = WIDENED_BITS if widen else 0
    opset = max((opset_of(part, least) for part in parts.layers.values()), default=LOWEST_OPSET)
    graph = float_graph(parts.model, parts.inputs, opset=opset, dynamic_batch=dynamic_batch)
    surgery = Surgery(graph, least)
    calls = calls_of(graph, parts)
    for call in calls:
        surgery.quantize(call, parts.layers[call.layer])
    for mark in marks_in(graph):
        surgery.round_output(mark, parts.outputs[mark.layer])
    stored = {name: _stored(part, least) for name, part in parts.layers.items()}
    notes = _notes(parts, stored)
    if output_batches is not None:
        added = add_output_grids(graph, calls, parts, output_batches, least)
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


def _notes(parts: NetworkParts, stored: Mapping[str, Stored]) -> list[str]:
    """What somebody who runs the file should know."""
    lines = []
    wider = [name for name, one in stored.items() if one.is_wider]
    if wider:
        lines.append(
            f"{len(wider)} of {len(stored)} layers have codes of 3, 5, 6, 7 or other bits that "
            "ONNX has no type for: stored in the next wider type, activations clipped"
        )
    if parts.norms:
        lines.append(f"{len(parts.norms)} batch norms folded into scales and biases")
    if factored := [one for one in stored.values() if one.rank is not None]:
        lines.append(f"{len(factored)} layers are two products, of the factors of their weights")
    if any("bfloat16" in (one.weight_type, one.input_type) for one in stored.values()):
        lines.append("bfloat16 is stored and rounded to; the layers compute in float32")
    if any(isinstance(part.input, DynamicRange) for part in parts.layers.values()):
        lines.append("Ranges of inputs are found anew in each run, over the whole batch")
    return lines


def opset_of(part: LayerParts, least_bits: int = 0) -> int:
    """The first opset that has the types of the layer's codes, of `least_bits` or more."""
    codes = [part.weight, part.input, part.output]
    if isinstance(part.weight, FactoredWeight):
        codes += [part.weight.left]
    return max(
        (
            integer_type(side.quant_min, side.quant_max, part.name, least_bits=least_bits).opset
            for side in codes
            if isinstance(side, CodedWeight | QuantizationGrid)
        ),
        default=LOWEST_OPSET,
    )


def _stored(part: LayerParts, least_bits: int) -> Stored:
    def side(value: Any) -> tuple[int, str]:
        if isinstance(value, FactoredWeight):
            value = value.left
        if isinstance(value, CodedWeight | QuantizationGrid):
            low, high = value.quant_min, value.quant_max
            kind = integer_type(low, high, part.name, least_bits=least_bits)
            return code_bits(value.quant_min, value.quant_max), kind.label
        if isinstance(value, DynamicRange):
            return DYNAMIC_BITS, "uint8"
        if value is None:
            return 32, "float32"
        return 16, type_name(value)

    rank = part.weight.rank if isinstance(part.weight, FactoredWeight) else None
    output = None if part.output is None else side(part.output)
    return Stored(*side(part.weight), *side(part.input), rank=rank, output=output)
