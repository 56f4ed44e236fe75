"""How to train: the settings of the training loop, and the course of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from bitwright.problems.errors import InputError, nearest
from bitwright.quantization.qat.estimators import estimator_named
from bitwright.quantization.quantizers import Quantizer

SGD_MOMENTUM = 0.9


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """Settings of a training, for float training and for QAT alike.

    `warmup` is the part of all steps (below 1) in which the learning rate rises. Weight decay spares
    biases and norms (parameters of fewer than two dimensions) and what quantizers learn. `sgd` has
    momentum 0.9.

    `estimator` says how a quantized copy is to be made for this training; `step_learning_rate` is
    the rate of what quantizers learn (none: that of the rest). Blending rises from alpha 0 at the
    part `alpha_start` of all steps to 1 at `alpha_end`. `dampening` weighs the pull of weights
    towards their levels, rising from 0 by half a cosine. `weight_average` is the decay of a moving
    average that takes the place of the weights at the end. `batch_norm_reestimation` is the number
    of batches on which the statistics of batch norms are measured anew at the end (0: not).
    `distillation` is the weight of the distance to a teacher's outputs, 1 minus it that of the
    task's loss. `float_distance` is the weight of the outputs' relative distance to the teacher's, which
    is added (Chen & Lou 2022). `early_stop_patience` is the number of epochs without a lower loss on the split
    `mine` after which training ends, with the weights of the best epoch. `mixed_precision` runs
    layers in a shorter type; `fp16` needs a GPU.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup: float = 0.25
    gradient_clip_norm: float | None = None
    estimator: str = "ste"
    step_learning_rate: float | None = None
    alpha_start: float = 0.0
    alpha_end: float = 0.8
    dampening: float = 0.0
    weight_average: float | None = None
    batch_norm_reestimation: int = 0
    distillation: float = 0.0
    distillation_temperature: float = 1.0
    float_distance: float = 0.0
    early_stop_patience: int | None = None
    mixed_precision: Literal["bf16", "fp16"] | None = None
    channels_last: bool = False

    def __post_init__(self) -> None:
        estimator_named(self.estimator)
        for name, least in (
            ("epochs", 1),
            ("batch_size", 1),
            ("batch_norm_reestimation", 0),
            ("early_stop_patience", 1),
        ):
            count = getattr(self, name)
            if count is None and name == "early_stop_patience":
                continue
            if isinstance(count, bool) or not isinstance(count, int) or count < least:
                raise InputError(
                    f"training: {name} must be an integer of at least {least}, got {count!r}"
                )
        for name, rule, holds in _RULES:
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if not holds(value):
                empty = " or null" if name == "gradient_clip_norm" else ""
                raise InputError(f"training: {name} must {rule}{empty}, got {value}")
        if not 0 <= self.alpha_start < self.alpha_end <= 1:
            raise InputError(
                "training: alpha_start and alpha_end must rise within 0 and 1, "
                f"got {self.alpha_start} and {self.alpha_end}"
            )
        for name, known in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("mixed_precision", MIXED_PRECISIONS),
        ):
            choice = getattr(self, name)
            if choice not in known and not (choice is None and name in _OPTIONAL):
                raise InputError(
                    f"training: {name} {choice!r} is unknown; {nearest(choice, known)}"
                )

    @property
    def needs_teacher(self) -> bool:
        """Whether the training learns from a float network's outputs."""
        return self.distillation > 0 or self.float_distance > 0

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """An optimizer over the model's trainable parameters.

        Every group has a `rate_factor`, its part of the learning rate of a step.
        """
        learned = {
            id(parameter)
            for module in model.modules()
            if isinstance(module, Quantizer)
            for parameter in module.parameters()
        }
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        rest = [p for p in trainable if id(p) not in learned]
        factor = (self.step_learning_rate or self.learning_rate) / self.learning_rate
        groups = [
            (self.weight_decay, 1.0, [p for p in rest if p.ndim > 1]),
            (0.0, 1.0, [p for p in rest if p.ndim <= 1]),
            (0.0, factor, [p for p in trainable if id(p) in learned]),
        ]
        return OPTIMIZERS[self.optimizer](
            [
                {"params": parameters, "weight_decay": decay, "rate_factor": part}
                for decay, part, parameters in groups
                if parameters
            ],
            self.learning_rate,
        )

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
MIXED_PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}

_OPTIONAL = frozenset(
    {"gradient_clip_norm", "step_learning_rate", "weight_average", "mixed_precision"}
)
"""Settings that may be None: without them."""

_RULES: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
    ("learning_rate", "be above 0", lambda v: 0 < v < math.inf),
    ("weight_decay", "not be negative", lambda v: 0 <= v < math.inf),
    ("warmup", "be at least 0 and below 1", lambda v: 0 <= v < 1),
    ("gradient_clip_norm", "be above 0", lambda v: v > 0),
    ("step_learning_rate", "be above 0", lambda v: 0 < v < math.inf),
    ("dampening", "not be negative", lambda v: 0 <= v < math.inf),
    ("weight_average", "be above 0 and below 1", lambda v: 0 < v < 1),
    ("distillation", "be from 0 to 1", lambda v: 0 <= v <= 1),
    ("distillation_temperature", "be above 0", lambda v: 0 < v < math.inf),
    ("float_distance", "not be negative", lambda v: 0 <= v < math.inf),
)

QAT_RECIPE = TrainingRecipe(
    epochs=12,
    learning_rate=4e-3,
    weight_decay=0.0,
    schedule="cosine",
    warmup=0.1,
    estimator="lsq",
    distillation=0.5,
    distillation_temperature=2.0,
    batch_norm_reestimation=50,
)
"""A recipe for QAT from float weights: learned steps, the float network as teacher (docs/qat.md)."""
