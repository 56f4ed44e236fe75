"""Recording one run of a model: its operations, and which tensors flow between them.

A `torch.overrides.TorchFunctionMode` sees every torch function that Python calls, so control flow,
functional calls and operators need no help from the model. Modules that are one operation by
themselves (layers, and the childless modules of `torch.nn`) are recorded by hooks as one node.
Code that runs outside Python, such as a scripted submodule, is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bitwright.networks.layers import LAYER_TYPES, Layer
from bitwright.networks.tensors import tensors_in

if TYPE_CHECKING:
    Graph = nx.DiGraph[int]


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer: its node in the graph, and its tensors."""

    node: int
    name: str
    layer: Layer
    input: Tensor
    output: Tensor


@dataclass(frozen=True)
class _Value:
    """What a tensor of the run holds: which output of which node, at which version."""

    tensor: Tensor
    node: int
    position: int
    version: int


class Trace(TorchFunctionMode):
    """The graph and the layer calls of one run, filled while `run` records it.

    Nodes are numbered in the order of execution. Each has a `kind` (class of a module, name of a
    function) and a `module` (its name; None for a function). An edge's `outputs` are the positions
    of the producer's outputs that the consumer reads. The first node is `input`, the last `output`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.graph: Graph = nx.DiGraph()
        self.calls: list[LayerCall] = []
        self._values: dict[int, _Value] = {}  # by id(tensor); keeps every tensor, so ids are unique
        self._inside: list[dict[int, tuple[Tensor, int]]] = []  # what the open modules read

    def run(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Record one run of the model."""
        self._add("input", None, (), tensors_in(inputs))
        with ExitStack() as stack:
            for name, module in model.named_modules():
                if _is_one_operation(module):
                    stack.enter_context(self._hooked(name, module))
            stack.enter_context(self)
            outputs = model(*inputs)
        self._add("output", None, tensors_in(outputs), ())

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        read = _versions((args, kwargs))
        result = func(*args, **kwargs)
        self._record(_function_name(func), None, read, result)
        return result

    @contextmanager
    def _hooked(self, name: str, module: nn.Module) -> Iterator[None]:
        """Record every call of the module as one operation, whatever it calls itself."""

        def before(_: nn.Module, args: Any, kwargs: Any) -> None:
            self._inside.append(_versions((args, kwargs)))

        def after(_: nn.Module, _args: Any, _kwargs: Any, result: Any) -> None:
            read = self._inside.pop()
            if self._inside or result is None:  # part of an outer operation, or failed
                return
            node = self._record(type(module).__name__, name, read, result)
            if node is not None and isinstance(module, LAYER_TYPES):
                input_, _version = next(iter(read.values()))
                self.calls.append(LayerCall(node, name, module, input_, result))

        handles = (
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after, with_kwargs=True, prepend=True, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _record(
        self, kind: str, module: str | None, read: dict[int, tuple[Tensor, int]], result: Any
    ) -> int | None:
        """Add the node of a call that made or changed tensors; None for one that did neither."""
        written = {id(t): t for t in tensors_in(result) if id(t) not in read}
        changed = {key: t for key, (t, version) in read.items() if _version(t) != version}
        if changed:  # in place: whatever shares its memory was written too
            for key, value in self._values.items():
                if _version(value.tensor) != value.version:
                    changed[key] = value.tensor
        written |= changed
        if not written:
            return None
        return self._add(kind, module, (t for t, _ in read.values()), written.values())

    def _add(
        self, kind: str, module: str | None, read: Iterable[Tensor], written: Iterable[Tensor]
    ) -> int:
        node = len(self.graph)
        self.graph.add_node(node, kind=kind, module=module)
        for tensor in read:
            if source := self._values.get(id(tensor)):
                seen = self.graph.get_edge_data(source.node, node, {}).get("outputs", ())
                outputs = tuple(sorted({*seen, source.position}))
                self.graph.add_edge(source.node, node, outputs=outputs)
        for position, tensor in enumerate(written):
            self._values[id(tensor)] = _Value(tensor, node, position, _version(tensor))
        return node


def _is_one_operation(module: nn.Module) -> bool:
    if isinstance(module, LAYER_TYPES):
        return True
    return type(module).__module__.startswith("torch.nn.") and not any(module.children())


def _versions(value: Any) -> dict[int, tuple[Tensor, int]]:
    """Tensors inside the value by identity, each with its version before the call."""
    return {id(tensor): (tensor, _version(tensor)) for tensor in tensors_in(value)}


def _version(tensor: Tensor) -> int:
    """How often the tensor's memory was written in place; inference tensors do not count it."""
    return 0 if tensor.is_inference() else tensor._version


def _function_name(func: Callable[..., Any]) -> str:
    """Name of a torch function; `add` for `add_`, `T` for the getter of `Tensor.T`."""
    name: str = func.__name__
    if name == "__get__":
        name = func.__self__.__name__  # type: ignore[attr-defined]
    return name.strip("_")
