"""Counting multiply-adds where torch carries them out, whatever Python code asked for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode


class MacCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the multiply-adds of matrix products, convolutions and fused attention in `total`.

    Operations that torch composes of others, such as `einsum`, are counted by their parts.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self,
        func: OpOverload[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        count = _attention if name.startswith("_scaled_dot_product_") else _MACS.get(name)
        if count is None or name == "_scaled_dot_product_attention_math":
            with self:
                result = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if result is NotImplemented else result
        result = func(*args, **kwargs)
        self.total += count(args, result)
        return result


def _product(left: int, right: int) -> Callable[[Any, Any], int]:
    """Counter of a product of the arguments at these places, with or without a batch."""
    return lambda args, _: args[left].numel() * args[right].shape[-1]


def _vector(matrix: int) -> Callable[[Any, Any], int]:
    """Counter of a product with a vector, which takes every element of the argument once."""
    return lambda args, _: args[matrix].numel()


def _convolution(args: tuple[Any, ...], result: Tensor) -> int:
    """Every output element, or transposed every input element, meets the weights of one channel."""
    input_, weight, transposed = args[0], args[1], args[6]
    elements: int = (input_ if transposed else result).numel()
    return elements * int(weight[0].numel())


def _attention(args: tuple[Any, ...], _: Any) -> int:
    """Queries times keys, and the attention that comes out times values."""
    query, key, value = args[:3]
    rows = int(math.prod(query.shape[:-1]))
    return rows * int(key.shape[-2]) * int(query.shape[-1] + value.shape[-1])


def _recurrence(args: tuple[Any, ...], _: Any) -> int:
    """Every step of every sequence meets the weights of the input and of the hidden state."""
    input_, of_input, of_hidden = args[:3]
    steps = int(math.prod(input_.shape[:-1]))
    return steps * int(of_input.numel() + of_hidden.numel())


_MACS: dict[str, Callable[[Any, Any], int]] = {
    "mm": _product(0, 1),
    "addmm": _product(1, 2),
    "bmm": _product(0, 1),
    "baddbmm": _product(1, 2),
    "addbmm": _product(1, 2),
    "mv": _vector(0),
    "addmv": _vector(1),
    "dot": _vector(0),
    "convolution": _convolution,
    "mkldnn_rnn_layer": _recurrence,
}
