"""Marks in the ONNX graph where a module's output is rounded: a graph knows no modules."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bitwright.problems.errors import InputError, MeasurementError
from bitwright.quantization.export.graph import Graph
from bitwright.quantization.grids import QuantizationGrid
from bitwright.quantization.quantizers import Quantizer
from bitwright.quantization.variants import quantize_output

_DOMAIN = "bitwright"


class _Mark(Quantizer):
    """Rounds like another quantizer, and in an export leaves a node with the layer's name instead."""

    def __init__(self, layer: str, quantizer: Quantizer) -> None:
        super().__init__()
        self.layer, self.quantizer = layer, quantizer

    def forward(self, tensor: Tensor) -> Tensor:
        """Round the tensor, or mark it."""
        if not torch.compiler.is_exporting():
            rounded: Tensor = self.quantizer(tensor)
            return rounded
        return torch.onnx.ops.symbolic(
            f"{_DOMAIN}::Output",
            (tensor,),
            {"layer": self.layer},
            dtype=tensor.dtype,
            shape=tensor.shape,
        )


@dataclass(frozen=True)
class Mark:
    """A tensor of the graph to be rounded: the output of a layer; `name` is `layer.output`.

    A second call of a shared module has `#2` behind the layer's name.
    """

    layer: str
    name: str
    node: Any


def mark_output(model: nn.Module, module: str, layer: str, quantizer: Quantizer) -> None:
    """Let a module of an export's float model mark its output, which belongs to this layer."""
    if not hasattr(torch.onnx, "ops"):
        raise MeasurementError("exporting outputs that are rounded needs torch 2.8 or newer")
    mark = _Mark(layer, copy.deepcopy(quantizer).cpu())
    quantize_output(model.get_submodule(module), mark, ExitStack())


def marks_in(graph: Graph) -> list[Mark]:
    """The marks of an exported graph; its own operators are declared no more."""
    declared = graph.proto.opset_import
    kept = [opset for opset in declared if opset.domain != _DOMAIN]
    del declared[:]
    declared.extend(kept)
    found: list[Mark] = []
    for node in graph.nodes:
        if node.domain == _DOMAIN:
            layer = node.attribute[0].s.decode()
            number = 1 + sum(mark.layer == layer for mark in found)
            suffix = "" if number == 1 else f"#{number}"
            found.append(Mark(layer, f"{layer}{suffix}.output", node))
    return found


def grid_at(layer: str, side: str, quantizer: Quantizer) -> QuantizationGrid:
    """The grid of a quantizer; raises `InputError` for one without a fixed grid."""
    grid = getattr(quantizer, "grid", None)
    if not isinstance(grid, QuantizationGrid):
        raise InputError(
            f"layer {layer!r}: its {side} has no fixed grid ({type(quantizer).__name__}), "
            "so that it cannot be exported"
        )
    return grid
