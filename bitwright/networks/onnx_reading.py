"""Reading an ONNX file of a float network: the same description and graph as of a PyTorch model.

Nothing is run: shapes come from ONNX's shape inference. Layers bear the names of their nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx

from bitwright.networks.calls import LayerCall
from bitwright.networks.kinds import keeps_grid
from bitwright.networks.layers import NO_GEOMETRY, Geometry
from bitwright.networks.onnx_file import attributes, load_onnx, model_inputs
from bitwright.networks.reading import TracedNetwork, describe
from bitwright.networks.relations import kind_followers
from bitwright.networks.ties import DEFAULT_TIES
from bitwright.problems.errors import InputError

if TYPE_CHECKING:
    from bitwright.networks.flow import Graph, Memory, Source

_KINDS = {
    "Relu": "ReLU", "LeakyRelu": "LeakyReLU", "PRelu": "PReLU", "Elu": "ELU", "Celu": "CELU",
    "Selu": "SELU", "Gelu": "GELU", "HardSwish": "Hardswish", "HardSigmoid": "Hardsigmoid",
    "Clip": "Hardtanh", "BatchNormalization": "BatchNorm2d", "Add": "add", "Sub": "sub",
    "Concat": "cat", "Reshape": "reshape", "Transpose": "transpose", "Flatten": "flatten",
    "Squeeze": "squeeze", "Unsqueeze": "unsqueeze", "Expand": "expand", "Split": "split",
    "Slice": "getitem", "Gather": "getitem", "MaxPool": "MaxPool2d",
    "GlobalMaxPool": "AdaptiveMaxPool2d", "DepthToSpace": "PixelShuffle",
    "SpaceToDepth": "PixelUnshuffle", "Pad": "pad", "Resize": "Upsample", "Upsample": "Upsample",
    "Softmax": "softmax", "Mul": "mul", "Div": "div", "MatMul": "matmul",
}  # fmt: skip
_RESHAPES = ("reshape", "flatten", "squeeze", "unsqueeze", "Dropout")
_FLOATS = (1, 10, 11, 16)  # ONNX's numbers of float32, float16, float64 and bfloat16
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
              "MatMulInteger", "DynamicQuantizeLinear")  # fmt: skip


def read_onnx(
    path: str | Path,
    shapes: Sequence[tuple[int, ...]] = (),
    *,
    ties: Iterable[str] = DEFAULT_TIES,
) -> TracedNetwork:
    """Describe the network of an ONNX file: Conv, ConvTranspose, Gemm and MatMul are its layers.

    `shapes` are those of the inputs, in order, and needed where the file leaves them open. The name
    is the file's. Node kinds are named as in a PyTorch model where there is such a name; `module` is
    the node's name. Raises `InputError` for a file that is no float ONNX model, and for shapes that
    cannot be inferred, and `MissingDependencyError` without onnx.
    """
    reader = _Reader(load_onnx(Path(path), shapes), str(path))
    reader.read()
    return describe(Path(path).stem, reader.graph, reader.calls, kind_followers, ties)


class _Reader:
    """The graph and the layer calls of a loaded model, filled by `read`."""

    def __init__(self, model: Any, path: str) -> None:
        self.graph: Graph = nx.DiGraph()
        self.calls: list[LayerCall] = []
        self._model, self._path = model, path
        graph = model.graph
        self._shapes = {t.name: tuple(t.dims) for t in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            sizes = value.type.tensor_type.shape.dim
            if value.type.tensor_type.HasField("shape") and all(s.dim_value for s in sizes):
                self._shapes[value.name] = tuple(s.dim_value for s in sizes)
        # Constants by name: the weights that they come from; integers are shapes and indices.
        self._constants = {
            t.name: frozenset([t.name] if t.data_type in _FLOATS else ()) for t in graph.initializer
        }
        self._sizes = {t.name: math.prod(t.dims) for t in graph.initializer}
        self._sources: dict[str, Source] = {}

    def read(self) -> None:
        """Go through the nodes, which ONNX keeps in topological order."""
        self._add(
            "input", None, [], [value.name for value in model_inputs(self._model)], constant=False
        )
        for node in self._model.graph.node:
            self._read_node(node)
        self._add("output", None, [value.name for value in self._model.graph.output], [])

    def _read_node(self, node: Any) -> None:
        if node.op_type in _QUANTIZED:
            raise InputError(
                f"{self._path}: node {node.name!r} is a {node.op_type}; "
                "only networks in floating point are read"
            )
        read = [name for name in node.input if name]
        if node.op_type == "Identity" and read[0] not in self._constants:
            self._sources[node.output[0]] = self._sources[read[0]]
            self._shapes.setdefault(node.output[0], self._shapes.get(read[0], ()))
            return
        if node.op_type in ("Shape", "Size"):
            read = []  # known, since all shapes are
        if all(name in self._constants for name in read):
            self._fold(node, read)
            return
        name = node.name or node.output[0]
        kind, grid = _KINDS.get(node.op_type, node.op_type), _grid_of(node)
        number = self._add(kind, name, read, list(node.output), same_grid=grid)
        if node.op_type in _LAYERS:
            self.add_call(number, node, _LAYERS[node.op_type](self, node))

    def _fold(self, node: Any, read: Sequence[str]) -> None:
        """A constant that is computed from others, or given by the node itself."""
        origin = frozenset[str]().union(*(self._constants[name] for name in read))
        for name in node.output:
            if node.op_type == "Constant":
                value = attributes(node).get("value")
                self._shapes[name] = tuple(getattr(value, "dims", ()))
                self._sizes[name] = math.prod(self._shapes[name])
                is_float = getattr(value, "data_type", None) in _FLOATS
                origin = frozenset([name] if is_float else ())
            self._constants[name] = origin

    def _add(
        self,
        kind: str,
        module: str | None,
        read: Sequence[str],
        written: Sequence[str],
        *,
        same_grid: bool = False,
        constant: bool = False,
    ) -> int:
        number = len(self.graph)
        scope = _scope(module) if module else ""
        self.graph.add_node(
            number, kind=kind, module=module, layer=None, scope=scope, same_grid=same_grid,
            constant=constant, memory=tuple(self._memory_of(number, kind, read, written)),
            in_place=False,
        )  # fmt: skip
        for name in read:
            if name in self._sources:
                source, position = self._sources[name]
                seen = self.graph.get_edge_data(source, number, {}).get("outputs", ())
                self.graph.add_edge(source, number, outputs=tuple(sorted({*seen, position})))
        for position, name in enumerate(written):
            self._sources[name] = (number, position)
        return number

    def _memory_of(
        self, number: int, kind: str, read: Sequence[str], written: Sequence[str]
    ) -> Iterator[Memory | None]:
        """The memory of each output: a tensor's own, or that of the tensor which it only reshapes."""
        for position, name in enumerate(written):
            if position == 0 and kind in _RESHAPES and read[0] in self._sources:
                node, output = self._sources[read[0]]
                yield self.graph.nodes[node]["memory"][output]
            elif name in self._shapes:
                yield (number, position), math.prod(self._shapes[name])
            else:
                yield (number, position), None

    def shape(self, tensor: str, node: str) -> tuple[int, ...]:
        """The shape of a tensor; raises `InputError` where inference did not find it."""
        if tensor not in self._shapes:
            raise InputError(
                f"{self._path}: node {node!r}: the shape of tensor {tensor!r} cannot be inferred; "
                "give the shapes of all inputs, such as --input 1,3,224,224"
            )
        return self._shapes[tensor]

    def is_weight(self, tensor: str) -> bool:
        """Whether a tensor is a constant of the file."""
        return tensor in self._constants

    def add_call(self, number: int, node: Any, computed: _Computed) -> None:
        """Add the call of a layer."""
        name = node.name or node.output[0]
        self.graph.nodes[number]["layer"] = name
        weights = self._constants[computed.weight] if computed.weight else frozenset[str]()
        self.calls.append(
            LayerCall(
                node=number,
                name=name,
                kind=computed.kind,
                macs=computed.macs,
                weights=weights,
                parameters=sum(self._sizes[w] for w in weights),
                quantizable=computed.weight is not None,
                source=self._sources.get(computed.input),
                input_shape=self.shape(computed.input, name),
                output_shape=self.shape(node.output[0], name),
                geometry=computed.geometry,
            )
        )


@dataclass(frozen=True)
class _Computed:
    """What a node computes: its input and weight are names of tensors."""

    kind: str
    macs: int
    input: str
    weight: str | None
    geometry: Geometry = NO_GEOMETRY


def _convolution(reader: _Reader, node: Any) -> _Computed:
    name, (input_, weight) = node.name or node.output[0], node.input[:2]
    sizes, given = reader.shape(weight, name), attributes(node)
    transposed = node.op_type == "ConvTranspose"
    kernel, groups = tuple(sizes[2:]), int(given.get("group", 1))
    channels = (sizes[0], sizes[1] * groups) if transposed else (sizes[1] * groups, sizes[0])
    elements = math.prod(reader.shape(input_ if transposed else node.output[0], name))
    return _Computed(
        f"{node.op_type}{len(kernel)}d",
        elements * math.prod(sizes[1:]),
        input_,
        weight if reader.is_weight(weight) else None,
        Geometry(*channels, kernel, tuple(given.get("strides", [1] * len(kernel))), groups),
    )


def _product(reader: _Reader, node: Any) -> _Computed:
    name, (left, right) = node.name or node.output[0], node.input[:2]
    inner = reader.shape(left, name)[0 if attributes(node).get("transA") else -1]
    outputs = reader.shape(node.output[0], name)
    macs = math.prod(outputs) * inner
    if reader.is_weight(right) and len(reader.shape(right, name)) == 2:
        return _Computed("Linear", macs, left, right, Geometry(inner, outputs[-1], groups=1))
    weight = next((tensor for tensor in (right, left) if reader.is_weight(tensor)), None)
    return _Computed("MatMul", macs, right if weight == left else left, weight)


_LAYERS = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Gemm": _product,
    "MatMul": _product,
}


def _grid_of(node: Any) -> bool:
    kind = _KINDS.get(node.op_type, node.op_type)
    mode = attributes(node).get("mode")
    return keeps_grid(kind, mode.decode() if isinstance(mode, bytes) else mode)


def _scope(name: str) -> str:
    """The module in which an exporter's node stands: `/layer1/conv1/Conv` is in `layer1/conv1`."""
    return name.strip("/").rpartition("/")[0]
