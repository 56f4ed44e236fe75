"""Running a model for a look at it, and leaving it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bitwright.networks.tensors import tensors_in
from bitwright.problems.errors import BitwrightError, MeasurementError


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Put the model in evaluation mode, without gradients, until the end of the block.

    Afterwards, also after an error, every module has its own training flag back and every buffer
    is the tensor that it was, with the values that it had.
    """
    flags = [(module, module.training) for module in model.modules()]
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    values = [(buffer, buffer.clone()) for buffer in model.buffers()]
    model.eval()
    try:
        with torch.no_grad():
            yield model
    finally:
        for module, training in flags:
            module.training = training
        for module, kept in buffers:
            module._buffers.clear()
            module._buffers.update(kept)
        with torch.no_grad():
            for buffer, value in values:
                buffer.copy_(value)


@contextmanager
def failures_reported(name: str, inputs: tuple[Any, ...]) -> Iterator[None]:
    """Turn whatever a run of the network raises into a `MeasurementError` of one line."""
    try:
        yield
    except BitwrightError:
        raise
    except Exception as error:
        shapes = [tuple(tensor.shape) for tensor in tensors_in(inputs)]
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise MeasurementError(
            f"network {name!r} cannot be run on inputs of shape {shapes}: {what}"
        ) from error
