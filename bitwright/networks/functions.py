"""How a call of a torch function is known again in another run, and where its operands stand.

Reading a network and quantizing it follow functions by the same rules, so that what one has seen the
other finds: by name of the function, and how many calls of it the innermost module at work has made.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor

from bitwright.networks.layers import FUNCTIONS

ATTENTION = "scaled_dot_product_attention"

Place = tuple[int, str]
"""Where an argument stands among those by position, and its name as a keyword."""

PRODUCTS: dict[str, tuple[Place, Place]] = {
    "matmul": ((0, "input"), (1, "other")),
    "mm": ((0, "input"), (1, "mat2")),
    "bmm": ((0, "input"), (1, "mat2")),
    "addmm": ((1, "mat1"), (2, "mat2")),
    "baddbmm": ((1, "batch1"), (2, "batch2")),
}
"""Matrix products of two tensors, and where the left and the right one stand."""

OPERANDS: dict[str, tuple[Place, Place]] = {
    **PRODUCTS,
    **dict.fromkeys(FUNCTIONS, ((0, "input"), (1, "weight"))),
    ATTENTION: ((0, "query"), (1, "key")),
}
"""The functions whose operands can be replaced one by one; of the others, torch decides the order."""


def argument(place: Place, args: tuple[Any, ...], kwargs: Any) -> Any:
    """The argument at a place; None where it was not given."""
    position, keyword = place
    return args[position] if position < len(args) else kwargs.get(keyword)


def replaced(
    place: Place, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with another value at a place."""
    position, keyword = place
    if position < len(args):
        return (*args[:position], value, *args[position + 1 :]), kwargs
    return args, {**kwargs, keyword: value}


def function_name(func: Callable[..., Any]) -> str:
    """Name of a torch function; `add` for `add_`, `T` for the getter of `Tensor.T`."""
    name: str = func.__name__
    if name == "__get__":
        name = func.__self__.__name__  # type: ignore[attr-defined]
    return name.strip("_")


def is_view_of(tensor: Tensor, original: Tensor) -> bool:
    """Whether both are parts of one memory."""
    return tensor.untyped_storage().data_ptr() == original.untyped_storage().data_ptr()


def axis_in(original: Tensor, view: Tensor, axis: int) -> int | None:
    """The axis of a tensor that a view, perhaps transposed or a part, has as `axis`; None if unclear."""
    if not is_view_of(view, original) or view.ndim != original.ndim:
        return None
    if view.stride() == original.stride():
        return axis % view.ndim
    same = [a for a in range(original.ndim) if original.stride(a) == view.stride(axis)]
    return same[0] if len(same) == 1 else None


def _unfolded(function: FunctionType) -> FunctionType:
    """A copy of one of torch's Python functions whose inner calls are seen one by one."""
    scope = {**function.__globals__, "has_torch_function": lambda _: False}
    return FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )


UNFOLDED_ATTENTION = _unfolded(F.multi_head_attention_forward)  # type: ignore[arg-type]
"""`F.multi_head_attention_forward`, to be run in its place under a mode that follows functions."""
