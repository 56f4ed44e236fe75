"""The training loop, for float networks and for quantized ones (QAT)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from bitwright.problems.errors import InputError, MeasurementError
from bitwright.quantization.checkpoints import load_checkpoint, save_checkpoint
from bitwright.quantization.recipe import TrainingRecipe

if TYPE_CHECKING:
    from bitwright.problems.protocols import Task

Progress = Callable[[int, int, float], None]


def fit(
    model: nn.Module,
    task: Task,
    recipe: TrainingRecipe,
    *,
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> float:
    """Train the model in place and return the mean training loss of the last epoch.

    After every epoch the state goes to `checkpoint`, then `progress(epoch, epochs, loss)` is called.
    A training that finds its checkpoint goes on from there and ends with the same weights, bit for
    bit, as one that was never interrupted (on the same machine and number of threads); a damaged
    or foreign checkpoint is an `InputError`. A loss or gradient that is not finite is a
    `MeasurementError`. The model is left in evaluation mode, torch's random state as it was.

    The schedule needs the number of batches: give `task.batches(...)` a length, or the batches of
    the first epoch are drawn once more to count them.
    """
    training = _Training(model, task, recipe, seed)
    if checkpoint is not None and checkpoint.exists():
        training.restore(checkpoint)
    with torch.random.fork_rng(devices=[]):
        while training.epoch < recipe.epochs:
            training.run_epoch()
            if checkpoint is not None:
                training.save(checkpoint)
            if progress is not None:
                progress(training.epoch, recipe.epochs, training.loss)
    model.eval()
    return training.loss


@dataclass
class _Training:
    """A training after `epoch` epochs, the last of which had the mean loss `loss`."""

    model: nn.Module
    task: Task
    recipe: TrainingRecipe
    seed: int
    epoch: int = 0
    loss: float = math.nan

    def __post_init__(self) -> None:
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            raise InputError("the model has no parameter to train")
        self.optimizer = self.recipe.make_optimizer(self.model)
        self._counted: int | None = None

    def run_epoch(self) -> None:
        """Train for one epoch; all that is random in it follows from the seed and its number."""
        data_seed, torch_seed = _epoch_seeds(self.seed, self.epoch)
        batches = self._batches(data_seed)
        per_epoch = self._count(batches)
        torch.manual_seed(torch_seed)
        self.model.train()
        losses: list[float] = []
        for number, (inputs, targets) in enumerate(batches):
            step = min(self.epoch * per_epoch + number, self.recipe.epochs * per_epoch - 1)
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.rate(step, self.recipe.epochs * per_epoch)
            place = f"epoch {self.epoch + 1}, batch {number + 1}"
            losses.append(self._step(inputs, targets, place))
        self.epoch += 1
        self.loss = sum(losses) / len(losses)

    def _step(self, inputs: tuple[Any, ...], targets: Any, place: str) -> float:
        self.optimizer.zero_grad()
        loss = self.task.training_loss(self.model(*inputs), targets)
        if not loss.isfinite():
            raise MeasurementError(f"training: the loss is {loss.item()} in {place}")
        loss.backward()  # type: ignore[no-untyped-call]
        limit = self.recipe.gradient_clip_norm or math.inf
        # Quantizers turn NaN into a number, so that NaN weights would not show in the loss.
        norm = clip_grad_norm_(self.model.parameters(), limit)
        if not norm.isfinite():
            raise MeasurementError(f"training: the gradient's norm is {norm.item()} in {place}")
        self.optimizer.step()
        return loss.item()

    def _batches(self, seed: int) -> Iterable[tuple[tuple[Any, ...], Any]]:
        return self.task.batches("train", batch_size=self.recipe.batch_size, seed=seed)

    def _count(self, batches: Iterable[Any]) -> int:
        if isinstance(batches, Sized):
            self._counted = len(batches)
        elif self._counted is None:
            drawn_again = self._batches(_epoch_seeds(self.seed, 0)[0])
            self._counted = sum(1 for _ in drawn_again)
        if not self._counted:
            raise MeasurementError(f"task {self.task.name!r} gave no batch to train on")
        return self._counted

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on."""
        state = {
            "epoch": self.epoch,
            "loss": self.loss,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_checkpoint(path, self._identity(), state)

    def restore(self, path: Path) -> None:
        """Go back to the state that `save` wrote."""
        state = load_checkpoint(path, self._identity())
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise InputError(f"checkpoint {path} belongs to another model") from error
        self.epoch, self.loss = state["epoch"], state["loss"]

    def _identity(self) -> dict[str, Any]:
        return {**asdict(self.recipe), "seed": self.seed, "data": self.task.fingerprint()}


def _epoch_seeds(seed: int, epoch: int) -> tuple[int, int]:
    """Seeds of an epoch's data and of torch in it."""
    data_seed, torch_seed = np.random.SeedSequence([seed, epoch]).generate_state(2)
    return int(data_seed), int(torch_seed)
