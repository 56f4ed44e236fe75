"""Recording one run of a model: its operations, its layers, and which tensors flow between them.

A `torch.overrides.TorchFunctionMode` sees every torch function that Python calls, so control flow,
functional calls and operators need no help from the model. Modules that are one operation by
themselves (layers, and the childless modules of `torch.nn`) are recorded by hooks as one node.
Whatever takes multiply-adds is a layer: a functional call is known by the Parameter that it
multiplies with. Code that runs outside Python is not seen, so scripted modules are refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bitwright.networks.calls import Computation, LayerCall, of_function, of_module
from bitwright.networks.flow import Flow, Source, Versions, versions
from bitwright.networks.functions import OPERANDS, UNFOLDED_ATTENTION, function_name
from bitwright.networks.kinds import keeps_grid
from bitwright.networks.layers import LAYER_TYPES
from bitwright.networks.products import MacCounter
from bitwright.networks.tensors import tensors_in
from bitwright.problems.network import FunctionCall


@dataclass
class _Scope:
    """A module at work: how many products without weights it has computed, and calls by function."""

    name: str
    products: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)


class Trace(TorchFunctionMode):
    """The graph and the layer calls of one run, filled while `run` records it.

    Nodes are numbered in the order of execution; the first is `input`, the last `output`. Each has
    a `kind` (class of a module, name of a function), a `module` (its name; None for a function), a
    `layer` (name of the layer that it is a call of, or None), a `scope` (the innermost module at
    work), `constant` (whether it reads only weights and constants), `same_grid` (whether its output
    holds only values that its input holds, or zero), `in_place` (whether it writes over a tensor
    that it reads) and `memory`: for each output the node and position whose output first lay where
    it lies, and how many elements that had, or None for a view of a constant. An edge's `outputs`
    are the positions of the producer's outputs that the consumer reads.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.calls: list[LayerCall] = []
        self._model = model
        self._flow = Flow(model)
        self.graph = self._flow.graph
        self._parameters = dict(model.named_parameters())
        self._names = {id(p): name for name, p in self._parameters.items()}
        held = Counter(id(p) for m in model.modules() for p in m._parameters.values())
        self._shared = {name for key, name in self._names.items() if held[key] > 1}
        self._modules = {name for name, _ in model.named_modules()}
        self._closed = {name for name, module in model.named_modules() if _is_closed(module)}
        self._macs = MacCounter()
        self._scopes = [_Scope("")]
        self._inside: list[tuple[Versions, int]] = []  # what open operations read, macs before

    def run(self, inputs: tuple[Any, ...]) -> None:
        """Record one run of the model."""
        self._flow.add((), tensors_in(inputs), self._attributes("input", None))
        with ExitStack() as stack:
            for name, module in self._model.named_modules():
                hooked = self._operation if _is_one_operation(module) else self._open
                stack.enter_context(hooked(name, module))
            stack.enter_context(self._macs)
            stack.enter_context(self)
            outputs = self._model(*inputs)
        self._flow.add(tensors_in(outputs), (), self._attributes("output", None))

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
        if func is F.multi_head_attention_forward:
            with self:
                return UNFOLDED_ATTENTION(*args, **kwargs)
        kind, read, before = function_name(func), versions((args, kwargs)), self._macs.total
        scope = self._scopes[-1]
        number = scope.calls[kind]
        if kind in OPERANDS:
            scope.calls[kind] += 1
        result = func(*args, **kwargs)
        macs = self._macs.total - before
        grid = keeps_grid(kind, kwargs.get("mode", args[3] if len(args) > 3 else None))
        node = self._flow.record(read, result, self._attributes(kind, None, grid))
        if macs and node is not None:
            place = FunctionCall(scope.name, function=kind, number=number)
            computation = of_function(place, args, kwargs, self._flow.weights_of, self._parameters)
            if computation.weights & self._shared or scope.name in self._closed:
                computation = replace(computation, quantizable=False, function=None)
            self._add_call(node, None, macs, computation, result)
        return result

    @contextmanager
    def _operation(self, name: str, module: nn.Module) -> Iterator[None]:
        """Record every call of the module as one operation, whatever it calls itself."""

        def before(_: nn.Module, args: Any, kwargs: Any) -> None:
            self._inside.append((versions((args, kwargs)), self._macs.total))

        def after(_: nn.Module, _args: Any, _kwargs: Any, result: Any) -> None:
            read, macs = self._inside.pop()
            if self._inside or result is None:  # part of an outer operation, or failed
                return
            kind = type(module).__name__
            grid = keeps_grid(kind, getattr(module, "mode", None))
            node = self._flow.record(read, result, self._attributes(kind, name, grid))
            if node is not None and (isinstance(module, LAYER_TYPES) or self._macs.total > macs):
                input_ = next(tensor for tensor, _ in read.values())
                computation = of_module(module, input_, self._names)
                self._add_call(node, name, self._macs.total - macs, computation, result)

        with _hooks(module, before, after):
            yield

    @contextmanager
    def _open(self, name: str, module: nn.Module) -> Iterator[None]:
        """Follow when a module is at work that is no operation by itself."""

        def before(*_: Any) -> None:
            self._scopes.append(_Scope(name))

        def after(*_: Any) -> None:
            self._scopes.pop()

        with _hooks(module, before, after):
            yield

    def _attributes(self, kind: str, module: str | None, same_grid: bool = False) -> dict[str, Any]:
        scope = self._scopes[-1].name
        return {
            "kind": kind, "module": module, "layer": None, "scope": scope, "same_grid": same_grid,
        }  # fmt: skip

    def _name_of_call(self, kind: str, weights: frozenset[str]) -> str:
        """After the weight: its module, or the Parameter itself; without one, after the scope."""
        if len(weights) == 1:
            (name,) = weights
            return name.removesuffix(".weight")
        scope = self._scopes[-1]
        number = scope.products[kind]
        scope.products[kind] += 1
        name = f"{scope.name}.{kind.lower()}".lstrip(".") + (f"_{number}" if number else "")
        while name in self._modules:
            name += "_"
        return name

    def _add_call(
        self, node: int, name: str | None, macs: int, computation: Computation, result: Any
    ) -> None:
        if name is None:
            name = self._name_of_call(computation.kind, computation.weights)
        self.graph.nodes[node]["layer"] = name
        self.calls.append(
            LayerCall(
                node=node,
                name=name,
                kind=computation.kind,
                macs=macs,
                weights=computation.weights,
                parameters=computation.parameters,
                quantizable=computation.quantizable,
                function=computation.function,
                source=self._input_source(node, computation.input),
                input_shape=tuple(computation.input.shape),
                output_shape=tuple(next(tensors_in(result)).shape),
                geometry=computation.geometry,
            )
        )

    def _input_source(self, node: int, input_: Tensor) -> Source | None:
        source = self._flow.source(input_)
        if source is None or source[0] != node:
            return source
        # The call wrote its input in place; the edges know what it read.
        before = next(iter(self.graph.pred[node].items()), None)
        return (before[0], before[1]["outputs"][0]) if before else None


def _is_one_operation(module: nn.Module) -> bool:
    if isinstance(module, LAYER_TYPES):
        return True
    return type(module).__module__.startswith("torch.nn.") and not any(module.children())


def _is_closed(module: nn.Module) -> bool:
    """Whether no quantizer of a function can be put into the module.

    It may run whatever is put into it, or its forward was replaced on the object.
    """
    containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    return isinstance(module, containers) or "forward" in vars(module)


@contextmanager
def _hooks(
    module: nn.Module, before: Callable[..., None], after: Callable[..., None]
) -> Iterator[None]:
    handles = (
        module.register_forward_pre_hook(before, with_kwargs=True),
        module.register_forward_hook(after, with_kwargs=True, prepend=True, always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
