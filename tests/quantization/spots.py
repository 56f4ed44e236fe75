"""A small task made of noise: which corner of the image holds the bright spot?"""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from bitwright.quantization import TrainingRecipe, fit


@dataclass
class Spots:
    """Fulfils what training needs of the Task protocol; `kill_at` counts batches."""

    count: int = 96
    name: str = "spots"
    kill_at: int | None = None

    def batches(self, split, *, batch_size=None, seed=None):
        images, labels = self._data(split)
        generator = torch.Generator().manual_seed(seed or 0)
        order = torch.arange(self.count)
        if seed is not None:
            order = torch.randperm(self.count, generator=generator)
        for chunk in order.split(batch_size or 32):
            noise = 0.3 * torch.randn(images[chunk].shape, generator=generator)
            yield (images[chunk] + noise,), labels[chunk]

    def training_loss(self, outputs, targets):
        if self.kill_at is not None:
            self.kill_at -= 1
            if self.kill_at < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return F.cross_entropy(outputs, targets)

    def fingerprint(self):
        return f"spots-{self.count}"

    def _data(self, split):
        generator = torch.Generator().manual_seed(len(split))
        labels = torch.randint(4, (self.count,), generator=generator)
        images = 0.5 * torch.randn(self.count, 1, 6, 6, generator=generator)
        for row, column in ((1, 1), (1, 4), (4, 1), (4, 4)):
            images[labels == (row // 4 * 2 + column // 4), 0, row, column] += 3
        return images, labels


class CountedSpots(Spots):
    """The same batches in a list, which has a length."""

    passes = 0

    def batches(self, split, **options):
        self.passes += 1
        return list(super().batches(split, **options))


def small_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Conv2d(8, 8, 3, stride=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 4),
    )


RECIPE = TrainingRecipe(epochs=4, batch_size=32, learning_rate=0.01, gradient_clip_norm=1.0)

OPTIONS = {
    "ste": {},
    "lsq": {"estimator": "lsq"},
    "lsq+": {"estimator": "lsq+", "step_learning_rate": 0.02},
    "pact": {"estimator": "pact"},
    "alpha": {"estimator": "alpha"},
    "dampening": {"estimator": "lsq", "dampening": 0.1},
    "weight_average": {"weight_average": 0.9},
    "batch_norms": {"batch_norm_reestimation": 2},
    "distillation": {"distillation": 0.5, "distillation_temperature": 2.0},
    "float_distance": {"float_distance": 0.5},
    "early_stop": {"early_stop_patience": 1},
    "bf16": {"estimator": "lsq", "mixed_precision": "bf16"},
    "channels_last": {"estimator": "lsq", "channels_last": True},
    "everything": {
        "estimator": "lsq",
        "step_learning_rate": 0.02,
        "dampening": 0.1,
        "weight_average": 0.9,
        "batch_norm_reestimation": 2,
        "distillation": 0.5,
        "early_stop_patience": 3,
        "channels_last": True,
    },
}
"""Settings of recipes, by what they try out."""


def train_until_killed(checkpoint: Path, batches: int) -> None:
    """Entry point of a process that kills itself in the midst of its training."""
    torch.set_num_threads(1)
    fit(small_model(), Spots(kill_at=batches), RECIPE, seed=3, checkpoint=checkpoint)


def train_option_until_killed(checkpoint: Path, batches: int) -> None:
    """The same with every option at once."""
    torch.set_num_threads(1)
    recipe, task = replace(RECIPE, **OPTIONS["everything"]), Spots(kill_at=batches)
    fit(small_model(), task, recipe, seed=3, checkpoint=checkpoint, teacher=small_model(5))
