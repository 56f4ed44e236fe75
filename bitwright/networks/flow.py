"""The graph of a run while it grows: which operation made which tensor, and from what."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
from torch import Tensor, nn

from bitwright.networks.tensors import tensors_in

if TYPE_CHECKING:
    Graph = nx.DiGraph[int]

Versions = dict[int, tuple[Tensor, int]]
"""Tensors by identity, each with its version before a call."""

Source = tuple[int, int]
"""Where a tensor comes from: a node, and the position among that node's outputs."""


Memory = tuple[Source, int | None]
"""A piece of memory that tensors share: whose output it first was, and that output's elements.

None where a file does not tell how many.
"""


@dataclass(frozen=True)
class _Value:
    """What a tensor of the run holds: which output of which node, at which version.

    The tensor is not kept alive, or a detector's run would take gigabytes. `weights` names the
    Parameters that it was computed from; None where data of the run went in, and only then it has
    a `memory`.
    """

    tensor: weakref.ref[Tensor]
    node: int
    position: int
    version: int
    weights: frozenset[str] | None
    memory: Memory | None


class Flow:
    """The graph of operations, and what every tensor of the run holds.

    What nodes and edges hold is said in `bitwright.networks.trace.Trace`.
    """

    def __init__(self, model: nn.Module) -> None:
        self.graph: Graph = nx.DiGraph()
        self._values: dict[int, _Value] = {}  # by id(tensor), which a later tensor may take over
        self._weights = {id(tensor): frozenset[str]() for tensor in model.buffers()}
        self._weights |= {id(p): frozenset([name]) for name, p in model.named_parameters()}

    def weights_of(self, tensor: Tensor) -> frozenset[str] | None:
        """The Parameters that a tensor is or comes from; None where data of the run is in it."""
        if value := self._value_of(tensor):
            return value.weights
        return self._weights.get(id(tensor))

    def source(self, tensor: Tensor) -> Source | None:
        """The node that made the tensor; None for Parameters and what the run did not make."""
        value = self._value_of(tensor)
        return (value.node, value.position) if value else None

    def _value_of(self, tensor: Tensor) -> _Value | None:
        value = self._values.get(id(tensor))
        return value if value is not None and value.tensor() is tensor else None

    def record(self, read: Versions, result: Any, attributes: Mapping[str, Any]) -> int | None:
        """Add the node of a call that made or changed tensors; None for one that did neither."""
        written = {id(t): t for t in tensors_in(result) if id(t) not in read}
        changed = {key: t for key, (t, version) in read.items() if _version(t) != version}
        if changed:  # in place: whatever shares its memory was written too
            for key, value in self._values.items():
                tensor = value.tensor()
                if tensor is not None and _version(tensor) != value.version:
                    changed[key] = tensor
        written |= changed
        if not written:
            return None
        return self.add(
            (t for t, _ in read.values()), written.values(), attributes, in_place=bool(changed)
        )

    def add(
        self,
        read: Iterable[Tensor],
        written: Iterable[Tensor],
        attributes: Mapping[str, Any],
        *,
        in_place: bool = False,
    ) -> int:
        """Add a node that reads and writes these tensors, some of them perhaps in place."""
        node = len(self.graph)
        read, written = list(read), list(written)
        weights = self._common_weights(read) if node else None  # the input is no constant
        memory: list[Memory | None] = [None] * len(written)
        if weights is None:
            memory = self._memory_of(node, read, written)
        self.graph.add_node(
            node,
            **attributes,
            constant=weights is not None,
            memory=tuple(memory),
            in_place=in_place,
        )
        for tensor in read:
            if source := self._value_of(tensor):
                seen = self.graph.get_edge_data(source.node, node, {}).get("outputs", ())
                outputs = tuple(sorted({*seen, source.position}))
                self.graph.add_edge(source.node, node, outputs=outputs)
        for position, tensor in enumerate(written):
            version, holder = _version(tensor), weakref.ref(tensor)
            value = _Value(holder, node, position, version, weights, memory[position])
            self._values[id(tensor)] = value
        return node

    def _memory_of(
        self, node: int, read: Sequence[Tensor], written: Sequence[Tensor]
    ) -> list[Memory | None]:
        """The memory of each output: that of a tensor which it is a view of, or is written over."""
        known: dict[int, Memory | None] = {}
        for tensor in read:
            if self.weights_of(tensor) is not None:  # a view of a constant is none of the data
                known[_address(tensor)] = None
        for tensor in written:
            if self.weights_of(tensor) is not None:  # data was written into a constant
                known.pop(_address(tensor), None)
        for tensor in (*read, *written):  # what was written in place has a value from before
            value = self._value_of(tensor)
            if value is not None and value.memory is not None:
                known[_address(tensor)] = value.memory
        memory: list[Memory | None] = []
        for position, tensor in enumerate(written):
            new = ((node, position), tensor.numel())
            address = _address(tensor)
            memory.append(new if address == _NOWHERE else known.setdefault(address, new))
        return memory

    def _common_weights(self, read: Iterable[Tensor]) -> frozenset[str] | None:
        of_each = [self.weights_of(tensor) for tensor in read]
        known = [weights for weights in of_each if weights is not None]
        return frozenset[str]().union(*known) if len(known) == len(of_each) else None


def versions(value: Any) -> Versions:
    """Tensors inside the value by identity, each with its version before the call."""
    return {id(tensor): (tensor, _version(tensor)) for tensor in tensors_in(value)}


_NOWHERE = 0


def _address(tensor: Tensor) -> int:
    """Where the tensor's memory lies; tensors without elements, or sparse, lie nowhere."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # sparse tensors, and those inside of torch.func
        return _NOWHERE


def _version(tensor: Tensor) -> int:
    """How often the tensor's memory was written in place; inference tensors do not count it."""
    return 0 if tensor.is_inference() else tensor._version
