"""Batch norms: measuring their statistics anew."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bitwright.quantization.qat.devices import moved_to


def reestimate_batch_norms(
    model: nn.Module, batches: Iterable[tuple[Any, ...]], count: int | None = None
) -> None:
    """Set the running statistics of batch norms to their mean over batches, `model(*inputs)` each.

    Batch k, counted from 0, enters with momentum 1 / (k + 1). Everything else runs in evaluation
    mode; `count` takes the first batches only. A model without batch norms is not run.
    """
    norms = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    if not norms:
        return
    place = next((p.device for p in model.parameters()), torch.device("cpu"))
    # Not `evaluation_mode`: that gives buffers their old values back.
    flags = [(module, module.training) for module in model.modules()]
    momenta = [(norm, norm.momentum) for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's cumulative mean
        norm.train()
    try:
        with torch.no_grad():
            for inputs in islice(batches, count):
                model(*moved_to(inputs, place))
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
        for module, training in flags:
            module.training = training
