"""Recording one run of a model: its operations, its layers, and which tensors flow between them.

A `torch.overrides.TorchFunctionMode` sees every torch function that Python calls, so control flow,
functional calls and operators need no help from the model. Modules that are one operation by
themselves (layers, and the childless modules of `torch.nn`) are recorded by hooks as one node.
Whatever takes multiply-adds is a layer: a functional call is known by the Parameter that it
multiplies with. Code that runs outside Python, such as a scripted submodule, is not seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from bitwright.networks.flow import Flow, Source, Versions, versions
from bitwright.networks.kinds import keeps_grid
from bitwright.networks.layers import (
    FUNCTIONS,
    LAYER_TYPES,
    Geometry,
    geometry_of_call,
    geometry_of_module,
    layer_kind,
)
from bitwright.networks.products import MacCounter
from bitwright.networks.tensors import tensors_in


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer: its node in the graph, what it reads, and its multiply-adds.

    `weights` names the Parameters that hold its weights, `parameters` counts them. `quantizable`
    says whether the call ran a module whose weight and input can be replaced. `source` is where
    its input comes from.
    """

    node: int
    name: str
    kind: str
    macs: int
    weights: frozenset[str]
    parameters: int
    quantizable: bool
    source: Source | None
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    geometry: Geometry


@dataclass
class _Scope:
    """A module at work, and how many products without weights it has computed so far."""

    name: str
    products: Counter[str] = field(default_factory=Counter)


class Trace(TorchFunctionMode):
    """The graph and the layer calls of one run, filled while `run` records it.

    Nodes are numbered in the order of execution; the first is `input`, the last `output`. Each has
    a `kind` (class of a module, name of a function), a `module` (its name; None for a function), a
    `layer` (name of the layer that it is a call of, or None), a `scope` (the innermost module at
    work), `constant` (whether it reads only weights and constants) and `same_grid` (whether its
    output holds only values that its input holds, or zero). An edge's `outputs` are the positions
    of the producer's outputs that the consumer reads.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.calls: list[LayerCall] = []
        self._model = model
        self._flow = Flow(model)
        self.graph = self._flow.graph
        self._parameters = dict(model.named_parameters())
        self._names = {id(p): name for name, p in self._parameters.items()}
        self._modules = {name for name, _ in model.named_modules()}
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
                return _UNFOLDED_ATTENTION(*args, **kwargs)
        read, before = versions((args, kwargs)), self._macs.total
        result = func(*args, **kwargs)
        kind, macs = _function_name(func), self._macs.total - before
        grid = keeps_grid(kind, kwargs.get("mode", args[3] if len(args) > 3 else None))
        node = self._flow.record(read, result, self._attributes(kind, None, grid))
        if macs and node is not None:
            self._call_function(node, kind, macs, args, kwargs, result)
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
                self._call_module(node, name, module, self._macs.total - macs, read, result)

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

    def _call_module(
        self, node: int, name: str, module: nn.Module, macs: int, read: Versions, result: Any
    ) -> None:
        input_ = next(tensor for tensor, _ in read.values())
        parameters = _weights_of_module(module)
        if isinstance(module, LAYER_TYPES):
            count = module.weight.numel()
        else:
            count = sum(parameter.numel() for parameter in parameters)
        self._add_call(
            node, name, layer_kind(module), macs, input_, result,
            weights=frozenset(self._names[id(p)] for p in parameters),
            parameters=count,
            quantizable=isinstance(module, LAYER_TYPES),
            geometry=geometry_of_module(module),
        )  # fmt: skip

    def _call_function(
        self,
        node: int,
        function: str,
        macs: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: Any,
    ) -> None:
        """Describe a functional call: by its weight, or as a product of two activations."""
        kind, geometry = FUNCTIONS.get(function), Geometry()
        operands = list(tensors_in((args, kwargs)))
        operands = operands[function.startswith("add") or function == "baddbmm" :]
        if kind:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            weights = self._flow.weights_of(weight) or frozenset()
            geometry = geometry_of_call(kind, weight, args, kwargs)
            inputs = operands
        else:
            named = [t for t in operands if self._flow.weights_of(t)]
            inputs = [t for t in operands if not self._flow.weights_of(t)] or operands
            kind = "Attention" if function == "scaled_dot_product_attention" else "MatMul"
            weights = frozenset()
            if len(named) == 1 and inputs is not operands:
                weights = self._flow.weights_of(named[0]) or frozenset()
                if named[0].ndim == 2 and operands[-1] is named[0] and function != "einsum":
                    kind, geometry = "Linear", Geometry(*named[0].shape, groups=1)
        self._add_call(
            node, self._name_of_call(kind, weights), kind, macs, inputs[0], result,
            weights=weights,
            parameters=sum(self._parameters[name].numel() for name in weights),
            quantizable=False,
            geometry=geometry,
        )  # fmt: skip

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
        self, node: int, name: str, kind: str, macs: int, input_: Tensor, result: Any, **known: Any
    ) -> None:
        self.graph.nodes[node]["layer"] = name
        self.calls.append(
            LayerCall(
                node, name, kind, macs,
                source=self._input_source(node, input_),
                input_shape=tuple(input_.shape),
                output_shape=tuple(next(tensors_in(result)).shape),
                **known,
            )
        )  # fmt: skip

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


def _weights_of_module(module: nn.Module) -> list[nn.Parameter]:
    """The Parameters that hold a module's weights, also where the weight is computed from them."""
    if parametrize.is_parametrized(module, "weight"):
        return list(module.parametrizations.weight.parameters())
    weight = module._parameters.get("weight")
    if isinstance(module, LAYER_TYPES) and weight is not None:
        return [weight]
    return [p for p in module.parameters(recurse=False) if p.ndim > 1]


def _unfolded(function: FunctionType) -> FunctionType:
    """A copy of one of torch's Python functions whose inner calls are seen one by one."""
    scope = {**function.__globals__, "has_torch_function": lambda _: False}
    return FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )


_UNFOLDED_ATTENTION = _unfolded(F.multi_head_attention_forward)  # type: ignore[arg-type]


def _function_name(func: Callable[..., Any]) -> str:
    """Name of a torch function; `add` for `add_`, `T` for the getter of `Tensor.T`."""
    name: str = func.__name__
    if name == "__get__":
        name = func.__self__.__name__  # type: ignore[attr-defined]
    return name.strip("_")
