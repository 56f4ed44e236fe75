"""Bringing batches to where a model lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def moved_to(
    value: Any, device: torch.device, memory_format: torch.memory_format | None = None
) -> Any:
    """Tensors on the device, inside tuples, lists and mappings too; images in the memory format."""
    if isinstance(value, Tensor):
        if memory_format is not None and value.ndim == 4:
            return value.to(device, memory_format=memory_format)
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: moved_to(v, device, memory_format) for key, v in value.items()}
    if type(value) in (tuple, list):
        return type(value)(moved_to(v, device, memory_format) for v in value)
    return value
