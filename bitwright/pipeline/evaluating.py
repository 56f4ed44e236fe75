"""Running a network over a split: its quality, and the loss of every object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from bitwright.networks import evaluation_mode
from bitwright.problems.errors import MeasurementError
from bitwright.problems.measurements import Quality
from bitwright.problems.protocols import Task

BATCH_SIZE = 256


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Quality on a split, with class and loss terms of every object, shape (O,)."""

    quality: Quality
    object_classes: NDArray[np.int64]
    losses: dict[str, NDArray[np.float32]]


def evaluate(model: nn.Module, task: Task, split: str) -> Evaluated:
    """Run the network once over a split, batch by batch, in evaluation mode."""
    evaluator = task.evaluator()
    classes: list[NDArray[np.int64]] = []
    losses: dict[str, list[NDArray[np.float32]]] = {}
    with evaluation_mode(model):
        for inputs, targets in task.batches(split, batch_size=BATCH_SIZE):
            outputs = model(*inputs)
            evaluator.update(outputs, targets)
            classes.append(task.object_classes(targets).cpu().numpy().astype(np.int64))
            for term, values in task.object_losses(outputs, targets).items():
                losses.setdefault(term, []).append(values.float().cpu().numpy())
    if not classes:
        raise MeasurementError(f"task {task.name!r}: the split {split!r} is empty")
    return Evaluated(
        evaluator.result(),
        np.concatenate(classes),
        {term: np.concatenate(values) for term, values in losses.items()},
    )
