"""The training loop, for float networks and for quantized ones (QAT)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from bitwright.networks import evaluation_mode
from bitwright.problems.errors import InputError, MeasurementError
from bitwright.quantization.qat.batch_norms import reestimate_batch_norms
from bitwright.quantization.qat.checkpoints import load_checkpoint, save_checkpoint
from bitwright.quantization.qat.devices import moved_to
from bitwright.quantization.qat.distillation import Teacher
from bitwright.quantization.qat.early_stop import EarlyStop
from bitwright.quantization.qat.recipe import MIXED_PRECISIONS, TrainingRecipe
from bitwright.quantization.qat.training_hooks import hooks_for

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
    teacher: nn.Module | None = None,
) -> float:
    """Train the model in place and return the mean training loss of the last epoch.

    After every epoch the state goes to `checkpoint`, then `progress(epoch, epochs, loss)` is called.
    A training that finds its checkpoint goes on from there and ends with the same weights, bit for
    bit, as one that was never interrupted (on the same machine and number of threads); a damaged
    or foreign checkpoint is an `InputError`. A loss or gradient that is not finite is a
    `MeasurementError`. The model is left in evaluation mode, torch's random state as it was.

    The model is trained on the device where it lives. `teacher` is the network whose outputs a recipe
    with `distillation` or `float_distance` learns from, usually the float one; it is copied and left alone.

    The schedule needs the number of batches: give `task.batches(...)` a length, or the batches of
    the first epoch are drawn once more to count them.
    """
    training = _Training(model, task, recipe, seed, teacher)
    if checkpoint is not None and checkpoint.exists():
        training.restore(checkpoint)
    with torch.random.fork_rng(devices=[]):
        while training.epoch < recipe.epochs and not training.stopped:
            training.run_epoch()
            if checkpoint is not None:
                training.save(checkpoint)
            if progress is not None:
                progress(training.epoch, recipe.epochs, training.loss)
        training.finish()
    return training.loss


@dataclass
class _Training:
    """A training after `epoch` epochs, the last of which had the mean loss `loss`."""

    model: nn.Module
    task: Task
    recipe: TrainingRecipe
    seed: int
    float_model: nn.Module | None = None
    epoch: int = 0
    loss: float = math.nan

    def __post_init__(self) -> None:
        place = next((p.device for p in self.model.parameters() if p.requires_grad), None)
        if place is None:
            raise InputError("the model has no parameter to train")
        recipe, self.device = self.recipe, place
        self._format = torch.channels_last if recipe.channels_last else None
        if self._format is not None:
            self.model.to(memory_format=self._format)  # type: ignore[call-overload]
        self._shorter = MIXED_PRECISIONS.get(recipe.mixed_precision or "")
        if self._shorter is torch.float16 and place.type != "cuda":
            raise InputError(f"training: mixed_precision 'fp16' needs a GPU, got {place.type}")
        self.scaler = torch.amp.GradScaler(place.type, enabled=self._shorter is torch.float16)
        self.optimizer = recipe.make_optimizer(self.model)
        self.hooks = hooks_for(self.model, recipe)
        self.early_stop = EarlyStop(recipe.early_stop_patience)
        self.teacher: Teacher | None = None
        if recipe.needs_teacher:
            if self.float_model is None:
                option = "distillation" if recipe.distillation else "float_distance"
                raise InputError(f"training: {option} needs a teacher, got none")
            self.teacher = Teacher(
                self.float_model,
                self.task,
                recipe.distillation,
                recipe.distillation_temperature,
                recipe.float_distance,
            )
            self.teacher.model.to(place)
        self._counted: int | None = None

    @property
    def stopped(self) -> bool:
        """Whether the training has ended before its last epoch."""
        return self.early_stop.reached

    def run_epoch(self) -> None:
        """Train for one epoch; all that is random in it follows from the seed and its number."""
        data_seed, torch_seed = _epoch_seeds(self.seed, self.epoch)
        batches = self._batches(data_seed)
        per_epoch = self._count(batches)
        steps = self.recipe.epochs * per_epoch
        torch.manual_seed(torch_seed)
        self.model.train()
        losses: list[float] = []
        for number, (inputs, targets) in enumerate(batches):
            step = min(self.epoch * per_epoch + number, steps - 1)
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.rate(step, steps) * group["rate_factor"]
            place = f"epoch {self.epoch + 1}, batch {number + 1}"
            losses.append(self._step(inputs, targets, step / steps, place))
        self.epoch += 1
        self.loss = sum(losses) / len(losses)
        self.early_stop.observe(self.model, self.hooks, self._loss_on_mine)

    def _step(self, inputs: tuple[Any, ...], targets: Any, time: float, place: str) -> float:
        for hook in self.hooks.values():
            hook.before_step(time)
        self.optimizer.zero_grad()
        loss = self._loss(inputs, targets)
        for hook in self.hooks.values():
            if (penalty := hook.penalty(time)) is not None:
                loss = loss + penalty
        if not loss.isfinite():
            raise MeasurementError(f"training: the loss is {loss.item()} in {place}")
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        limit = self.recipe.gradient_clip_norm or math.inf
        norm = clip_grad_norm_(self.model.parameters(), limit)
        # A scaler skips steps that overflow and lowers its scale; without one it is an error.
        if not norm.isfinite() and not self.scaler.is_enabled():
            raise MeasurementError(f"training: the gradient's norm is {norm.item()} in {place}")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        for hook in self.hooks.values():
            hook.after_step()
        return loss.item()

    def _loss(self, inputs: tuple[Any, ...], targets: Any, *, taught: bool = True) -> Tensor:
        inputs = moved_to(inputs, self.device, self._format)
        targets = moved_to(targets, self.device)
        with torch.autocast(self.device.type, self._shorter, enabled=self._shorter is not None):
            outputs = self.model(*inputs)
            loss = self.task.training_loss(outputs, targets)
            if self.teacher is not None and taught:
                loss = self.teacher.blended(loss, inputs, outputs)
        return loss

    def _loss_on_mine(self) -> float:
        """Mean loss over the batches of the split `mine`, in evaluation mode."""
        batches = self.task.batches("mine", batch_size=self.recipe.batch_size)
        with evaluation_mode(self.model):
            losses = [self._loss(*batch, taught=False).item() for batch in batches]
        if not losses:
            raise MeasurementError(f"task {self.task.name!r}: the split 'mine' is empty")
        return sum(losses) / len(losses)

    def finish(self) -> None:
        """Leave the model as it is to be used, in evaluation mode."""
        for hook in self.hooks.values():
            hook.finish()
        self.early_stop.finish(self.model)
        if self._format is not None:
            self.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        if count := self.recipe.batch_norm_reestimation:
            batches = self.task.batches("train", batch_size=self.recipe.batch_size)
            reestimate_batch_norms(self.model, (inputs for inputs, _ in batches), count)
        self.model.eval()

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
            "hooks": {name: hook.state_dict() for name, hook in self.hooks.items()},
            "early_stop": self.early_stop.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        save_checkpoint(path, self._identity(), state)

    def restore(self, path: Path) -> None:
        """Go back to the state that `save` wrote."""
        state = load_checkpoint(path, self._identity())
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            for name, hook in self.hooks.items():
                hook.load_state_dict(state["hooks"][name])
            self.early_stop.load_state_dict(state["early_stop"])
            self.scaler.load_state_dict(state["scaler"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(f"checkpoint {path} belongs to another model") from error
        self.epoch, self.loss = state["epoch"], state["loss"]

    def _identity(self) -> dict[str, Any]:
        return {
            **asdict(self.recipe),
            "seed": self.seed,
            "data": self.task.fingerprint(),
            "teacher": self.teacher and self.teacher.fingerprint(),
        }


def _epoch_seeds(seed: int, epoch: int) -> tuple[int, int]:
    """Seeds of an epoch's data and of torch in it."""
    data_seed, torch_seed = np.random.SeedSequence([seed, epoch]).generate_state(2)
    return int(data_seed), int(torch_seed)
