"""The float network as an ONNX graph whose initializers keep the names of the model's parameters."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitwright.networks import LAYER_TYPES
from bitwright.problems.errors import MeasurementError, missing_dependency

LOWEST_OPSET = 18
"""What torch's exporter writes by itself."""

_COMPUTING = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class LayerNode:
    """One call of a layer: its node, and the transposition of its weight, if there is one.

    `weight` is the name of the initializer.
    """

    layer: str
    weight: str
    node: Any
    transpose: Any | None


class Graph:
    """An ONNX model being edited; nodes are kept in an order in which they can run."""

    def __init__(self, proto: Any) -> None:
        self.proto = proto
        self.onnx = require("onnx")

    @property
    def nodes(self) -> Any:
        """The nodes of the graph, a mutable sequence."""
        return self.proto.graph.node

    def add_initializer(self, name: str, data: bytes, onnx_type: int, shape: list[int]) -> str:
        """Add a tensor as raw bytes and return its name."""
        tensor = self.onnx.TensorProto(name=name, data_type=onnx_type, dims=shape, raw_data=data)
        self.proto.graph.initializer.append(tensor)
        return name

    def add_array(self, name: str, array: NDArray[Any]) -> str:
        """Add an array as an initializer and return its name."""
        tensor = self.onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
        self.proto.graph.initializer.append(tensor)
        return name

    def initializer(self, name: str) -> Any:
        """The initializer of this name."""
        return next(i for i in self.proto.graph.initializer if i.name == name)

    def drop_initializer(self, name: str) -> None:
        """Remove an initializer that nothing reads any more."""
        kept = [i for i in self.proto.graph.initializer if i.name != name]
        del self.proto.graph.initializer[:]
        self.proto.graph.initializer.extend(kept)

    def before(self, node: Any, *added: Any) -> None:
        """Insert nodes before a node, in the order given."""
        at = self._place(node)
        for offset, new in enumerate(added):
            self.nodes.insert(at + offset, new)

    def after(self, node: Any, added: Any) -> None:
        """Insert a node behind a node."""
        self.nodes.insert(self._place(node) + 1, added)

    def replace(self, node: Any, tensor: str) -> None:
        """Let whoever reads the node's result read another tensor, and so the node be unused."""
        result = node.output[0]
        for reader in self.nodes:
            reader.input[:] = [tensor if name == result else name for name in reader.input]
        # What leaves the network keeps its name.
        node.CopyFrom(self.node("Identity", [tensor], result))

    def _place(self, node: Any) -> int:
        return next(i for i, known in enumerate(self.nodes) if known.output == node.output)

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        """Make a node, named like its output."""
        return self.onnx.helper.make_node(kind, inputs, [output], name=output, **attributes)

    def scalar(self, name: str, data: bytes, onnx_type: int) -> Any:
        """Make the node of a scalar constant: part of the graph, not of what is stored."""
        return self.constant(name, data, onnx_type, [])

    def constant(self, name: str, data: bytes, onnx_type: int, shape: list[int]) -> Any:
        """Make the node of a constant tensor, which is no part of what is stored either."""
        value = self.onnx.TensorProto(data_type=onnx_type, dims=shape, raw_data=data)
        return self.node("Constant", [], name, value=value)

    def remove_unused(self) -> None:
        """Remove nodes and initializers whose results nothing reads."""
        graph = self.proto.graph
        used = {output.name for output in graph.output}
        kept = []
        for node in reversed(graph.node):
            if used.intersection(node.output):
                used.update(node.input)
                for attribute in node.attribute:
                    used.update(_read_inside(attribute))
                kept.append(node)
        initializers = [i for i in graph.initializer if i.name in used]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(reversed(kept))
        graph.initializer.extend(initializers)


def _read_inside(attribute: Any) -> Iterator[str]:
    """Names that the graphs inside an attribute (of `If`, `Loop`) read."""
    for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
        for node in graph.node:
            yield from node.input
            for inner in node.attribute:
                yield from _read_inside(inner)
        yield from (output.name for output in graph.output)


def require(module: str) -> Any:
    """Import what exporting needs; raises `MissingDependencyError`."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise missing_dependency("exporting to ONNX", error.name or module) from None


def float_graph(
    model: nn.Module, inputs: tuple[Any, ...], *, opset: int, dynamic_batch: bool
) -> Graph:
    """Export a float model in evaluation mode by `torch.export`.

    Parameters and buffers are the initializers, under their names in the state dict; whatever else
    is constant is a `Constant` node. `dynamic_batch` asks for a first axis of any length in every
    input; where the model does not allow that, the export has the shapes of the inputs given.
    Raises `MeasurementError` where torch cannot export the model.
    """
    require("onnx")
    require("onnxscript")
    # What torch writes: converting to less fails for common operators, with a log of the failure.
    opset = max(opset, LOWEST_OPSET)
    if dynamic_batch and (doubled := _doubled(inputs)) is not None:
        shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
        try:
            return _cleaned(_exported(model, doubled, opset, shapes), model)
        except MeasurementError:
            pass  # the model is made for one batch size
    return _cleaned(_exported(model, inputs, opset, None), model)


def _doubled(inputs: tuple[Any, ...]) -> tuple[Tensor, ...] | None:
    """The inputs with their batch twice: torch takes a batch of 1 to be always 1."""
    if not all(isinstance(value, Tensor) and value.ndim > 1 for value in inputs):
        return None
    return tuple(torch.cat([value, value]) for value in inputs)


def _exported(model: nn.Module, inputs: tuple[Any, ...], opset: int, shapes: Any) -> Any:
    with _quiet():
        try:
            program = torch.onnx.export(
                model,
                inputs,
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=opset,
                dynamic_shapes=shapes,
            )
            assert program is not None
            proto = program.model_proto
        except Exception as error:
            reason = " ".join(str(error).split())
            raise MeasurementError(
                f"torch.export cannot export {type(model).__name__}: {reason[:300]}"
            ) from error
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings, which are about its own code, and its log."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _cleaned(proto: Any, model: nn.Module) -> Graph:
    """The graph without shape arithmetic, unused nodes, and notes on where its code stood."""
    onnx = require("onnx")
    graph = proto.graph
    stored = [i for i in graph.initializer if i.name in model.state_dict(keep_vars=True)]
    # As inputs, whose values are unknown, the parameters are not folded, transposed or merged.
    for tensor in stored:
        value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        graph.input.append(value)
        graph.initializer.remove(tensor)
    count = len(graph.input) - len(stored)
    with _quiet():
        require("onnxscript.optimizer").fold_constants(proto)
    graph = proto.graph
    constants = [
        onnx.helper.make_node("Constant", [], [i.name], name=i.name, value=i)
        for i in graph.initializer
    ]
    nodes = [*constants, *graph.node]
    del graph.input[count:], graph.initializer[:], graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(_raw(onnx, tensor) for tensor in stored)
    for holder in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del holder.metadata_props[:]
        holder.doc_string = ""
    result = Graph(proto)
    _drop_zero_biases(result, model)
    result.remove_unused()
    return result


def _raw(onnx: Any, tensor: Any) -> Any:
    """The tensor with its data as raw bytes inside it."""
    return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name)


def _drop_zero_biases(graph: Graph, model: nn.Module) -> None:
    """Take away the biases that the exporter makes up for convolutions without one."""
    for call in layer_nodes(graph, model):
        layer = model.get_submodule(call.layer)
        if layer.bias is None and len(call.node.input) == 3:
            del call.node.input[2]


def layer_nodes(graph: Graph, model: nn.Module) -> list[LayerNode]:
    """The nodes that compute the layers, named like them from now on; a second call is `name#2`."""
    layers = _layers_by_initializer(model)
    transposed = {
        node.output[0]: node
        for node in graph.nodes
        if node.op_type == "Transpose" and node.input[0] in layers
    }
    calls: list[LayerNode] = []
    for node in graph.nodes:
        if node.op_type not in _COMPUTING:
            continue
        transpose = transposed.get(node.input[1])
        weight = node.input[1] if transpose is None else transpose.input[0]
        if weight in layers:
            name = layers[weight]
            number = 1 + sum(call.layer == name for call in calls)
            node.name = name if number == 1 else f"{name}#{number}"
            calls.append(LayerNode(name, weight, node, transpose))
    return calls


def _layers_by_initializer(model: nn.Module) -> dict[str, str]:
    """The layer's name by that of its weight; the weight of a shared module has several names."""
    names: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, LAYER_TYPES):
            names[f"{name}.weight"] = first.setdefault(id(module), name)
    return names
