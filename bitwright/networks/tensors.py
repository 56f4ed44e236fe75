"""Finding the tensors in what models take and return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from bitwright.problems.errors import InputError


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors inside nested containers and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tensors_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))


def as_inputs(batch: Any) -> tuple[Any, ...]:
    """The inputs of one call of a model: a tuple as it is, one tensor as the only input.

    Raises `InputError` for anything else, such as the (images, labels) lists of a `DataLoader`.
    """
    if isinstance(batch, Tensor):
        return (batch,)
    if isinstance(batch, tuple):
        return batch
    raise InputError(
        "a batch must be a tuple of the model's inputs, such as (images,), or one tensor, "
        f"got a {type(batch).__name__}"
    )
