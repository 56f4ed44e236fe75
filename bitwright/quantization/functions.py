"""Reaching the operands of functions while a model runs, without edits to the model.

Modules are followed by hooks, so that every call of a function is known by the innermost module at
work, as when the network was read. While a module runs that computes layers by functions, a
`TorchFunctionMode` hands the operands of these layers to whoever asked for them, and computes with
what comes back. Fused attention is computed as its two products then.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from bitwright.networks.functions import (
    ATTENTION,
    OPERANDS,
    UNFOLDED_ATTENTION,
    argument,
    function_name,
    is_view_of,
    replaced,
)
from bitwright.problems.errors import InputError
from bitwright.problems.network import FunctionCall

INPUT, SECOND, PROBABILITIES, VALUES = "input", "second", "probabilities", "values"
"""Operands: the left one (queries), the right one (keys), and of attention's second product both."""

Change = Callable[[str, Tensor], Tensor]
"""Takes the name of an operand and the tensor, and returns what to compute with in its place."""


def operands_of(call: FunctionCall) -> dict[str, str]:
    """The operands that are no weights, each with the side whose bits it takes.

    What stands on the right takes the bits of weights: keys, and values.
    """
    if call.parameter:
        return {INPUT: "activation"}
    sides = {INPUT: "activation", SECOND: "weight"}
    if call.function == ATTENTION:
        sides |= {PROBABILITIES: "activation", VALUES: "weight"}
    return sides


@dataclass
class _Followed:
    """A layer that a module computes by a function, and the module that holds its weight."""

    name: str
    call: FunctionCall
    owner: nn.Module | None
    change: Change


@dataclass
class _Frame:
    """A module at work; without layers for one whose functions concern nobody."""

    layers: tuple[_Followed, ...] = ()
    calls: Counter[str] = field(default_factory=Counter)


class _AtWork(threading.local):
    def __init__(self) -> None:
        self.frames: list[_Frame] = []


_AT_WORK = _AtWork()
_FOLLOWED = "_followed_layers"


def follow_functions(
    model: nn.Module,
    layers: Mapping[str, tuple[FunctionCall, Change]],
    undo: ExitStack,
) -> None:
    """Hand the operands of these layers to their `Change`, until `undo` is closed.

    Copies of the model made meanwhile do so by themselves. Call it last: what is put into the model
    later is not told apart from the modules that compute the layers.
    """
    if not layers:
        return
    modules = dict(model.named_modules())
    # Under a mode these make no nested tensors, on which attention has no functions to follow.
    scopes: dict[str, list[_Followed]] = {
        name: []
        for name, module in modules.items()
        if isinstance(module, nn.TransformerEncoder) and "forward" not in vars(module)
    }
    for name, (call, change) in layers.items():
        owner = None
        if call.module not in modules:
            raise InputError(f"layer {name!r}: the model has no module {call.module!r}")
        if call.parameter:
            owner = modules.get(call.parameter.rpartition(".")[0])
            _mark_weight(name, call, owner, undo)
        scopes.setdefault(call.module, []).append(_Followed(name, call, owner, change))
    for name, module in modules.items():
        if name in scopes:
            _wrap_forward(name, module, tuple(scopes[name]), undo)
        else:
            before = module.register_forward_pre_hook(_open, prepend=True)
            after = module.register_forward_hook(_close, always_call=True)
            undo.callback(before.remove)
            undo.callback(after.remove)


def _mark_weight(name: str, call: FunctionCall, owner: nn.Module | None, undo: ExitStack) -> None:
    """Let the quantized weight be known again, also by a part or a transposition of it."""
    attribute = call.parameter.rpartition(".")[2]
    if owner is None or not hasattr(owner, attribute):
        raise InputError(f"layer {name!r}: the model has no Parameter {call.parameter!r}")
    if parametrize.is_parametrized(owner, attribute):
        computed = owner.get_submodule(f"parametrizations.{attribute}")
        undo.callback(computed.register_forward_hook(partial(_mark, name)).remove)


def _mark(name: str, _: nn.Module, _args: Any, weight: Tensor) -> None:
    weight.untyped_storage().bitwright_layer = name  # type: ignore[attr-defined]


def _wrap_forward(
    name: str, module: nn.Module, layers: tuple[_Followed, ...], undo: ExitStack
) -> None:
    if "forward" in vars(module):
        raise InputError(
            f"module {name!r}: its forward is replaced on the object, so that the functions in it "
            "cannot be followed; leave its products and functional calls in float32"
        )
    setattr(module, _FOLLOWED, layers)
    module.forward = MethodType(_followed_forward, module)
    undo.callback(delattr, module, _FOLLOWED)
    undo.callback(delattr, module, "forward")


def _followed_forward(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    frames = _AT_WORK.frames
    depth, frame = len(frames), _Frame(getattr(module, _FOLLOWED))
    frames.append(frame)
    try:
        with _Following(frame):
            return type(module).forward(module, *args, **kwargs)
    finally:
        del frames[depth:]  # also what an interrupted run has left


def _open(_: nn.Module, _args: Any) -> None:
    _AT_WORK.frames.append(_Frame())


def _close(_: nn.Module, _args: Any, _output: Any) -> None:
    if _AT_WORK.frames:
        _AT_WORK.frames.pop()


class _Following(TorchFunctionMode):
    """Sees the functions that one module calls itself."""

    def __init__(self, frame: _Frame) -> None:
        super().__init__()
        self._frame = frame

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        frames = _AT_WORK.frames
        if not frames or frames[-1] is not self._frame:
            return func(*args, **given)
        if func is F.multi_head_attention_forward:
            with self:
                return UNFOLDED_ATTENTION(*args, **given)
        name = function_name(func)
        if name not in OPERANDS:
            return func(*args, **given)
        number = self._frame.calls[name]
        self._frame.calls[name] += 1
        right = argument(OPERANDS[name][1], args, given)
        layer = next((x for x in self._frame.layers if _is_call(x, name, number, right)), None)
        if layer is None:
            return func(*args, **given)
        if name == ATTENTION:
            return attention(layer.change, *args, **given)
        for place, operand in zip(OPERANDS[name], operands_of(layer.call), strict=False):
            value = layer.change(operand, argument(place, args, given))
            args, given = replaced(place, value, args, given)
        return func(*args, **given)


def _is_call(layer: _Followed, function: str, number: int, right: Tensor) -> bool:
    if layer.owner is None:
        return (layer.call.function, layer.call.number) == (function, number)
    if getattr(right.untyped_storage(), "bitwright_layer", None) == layer.name:
        return True
    attribute = layer.call.parameter.rpartition(".")[2]
    weight = layer.owner._parameters.get(attribute)
    return weight is not None and is_view_of(right, weight)


def attention(  # noqa: PLR0917 - torch's own order
    change: Change,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`scaled_dot_product_attention` as two products whose four operands go through `change`.

    Probabilities are changed before dropout. A query that may look at nothing gets zeros, as from
    torch's own function.
    """
    query, key, value = change(INPUT, query), change(SECOND, key), change(VALUES, value)
    if enable_gqa:
        key, value = (
            t.repeat_interleave(query.shape[-3] // t.shape[-3], dim=-3) for t in (key, value)
        )
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query @ key.transpose(-2, -1)) * factor
    if is_causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    if attn_mask is not None:
        masked = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -math.inf) if masked else scores + attn_mask
    if attn_mask is None:
        probabilities = scores.softmax(dim=-1)
    else:
        blind = (scores == -math.inf).all(dim=-1, keepdim=True)
        probabilities = scores.masked_fill(blind, 0).softmax(dim=-1).masked_fill(blind, 0)
    probabilities = change(PROBABILITIES, probabilities)
    if dropout_p > 0:
        probabilities = F.dropout(probabilities, dropout_p)
    return probabilities @ value
