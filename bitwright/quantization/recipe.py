"""How to train: the settings of the training loop, and the course of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from bitwright.problems.errors import InputError, nearest

SGD_MOMENTUM = 0.9


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """Settings of a training, for float training and for QAT alike.

    `warmup` is the part of all steps (below 1) in which the learning rate rises. Weight decay spares
    biases and norms (parameters of fewer than two dimensions). `sgd` has momentum 0.9.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup: float = 0.25
    gradient_clip_norm: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise InputError(
                    f"training: {name} must be an integer of at least 1, got {count!r}"
                )
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"training: learning_rate must be above 0, got {self.learning_rate}")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(
                f"training: weight_decay must not be negative, got {self.weight_decay}"
            )
        if not 0 <= self.warmup < 1:
            raise InputError(f"training: warmup must be at least 0 and below 1, got {self.warmup}")
        if self.gradient_clip_norm is not None and not self.gradient_clip_norm > 0:
            raise InputError(
                f"training: gradient_clip_norm must be above 0 or null, got {self.gradient_clip_norm}"
            )
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if (choice := getattr(self, name)) not in known:
                raise InputError(
                    f"training: {name} {choice!r} is unknown; {nearest(choice, known)}"
                )

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """An optimizer over the model's trainable parameters."""
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trainable if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return OPTIMIZERS[self.optimizer]([g for g in groups if g["params"]], self.learning_rate)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step, counted from 0, of a training of so many steps."""
        return self.learning_rate * SCHEDULES[self.schedule](step, steps, self.warmup)


def _adamw(parameters: Iterable[dict[str, object]], rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=rate)


def _sgd(parameters: Iterable[dict[str, object]], rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=rate, momentum=SGD_MOMENTUM)


def _one_cycle(step: int, steps: int, warmup: float) -> float:
    """As `torch.optim.lr_scheduler.OneCycleLR`: 1/25 to 1 to 1/250,000, by half cosines."""
    peak, end = warmup * steps - 1, steps - 1
    if step < peak:
        return _half_cosine(1 / 25, 1, step / peak)
    return _half_cosine(1, 1 / 250_000, (step - peak) / (end - peak))


def _cosine(step: int, steps: int, warmup: float) -> float:
    """A straight rise, then half a cosine down to 0."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return _half_cosine(1, 0, (step - rising) / (steps - rising))


def _constant(step: int, steps: int, warmup: float) -> float:
    """A straight rise, then no change."""
    return min(1.0, (step + 1) / (warmup * steps + 1))


def _half_cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": _adamw, "sgd": _sgd}
SCHEDULES: dict[str, Callable[[int, int, float], float]] = {
    "one_cycle": _one_cycle,
    "cosine": _cosine,
    "constant": _constant,
}
