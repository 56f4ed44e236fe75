"""Ending a training that no longer gets better, with the weights of its best epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

from bitwright.quantization.qat.blending import blending_quantizers
from bitwright.quantization.qat.training_hooks import StepHook, WeightAverage


class EarlyStop:
    """Keeps the best epoch by a loss on held-out data; without a patience it does nothing.

    Where weights are averaged, the average is judged. Epochs of a blended network count from
    alpha = 1 on: before, it is not yet the network that is asked for.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.best_loss, self.epochs_since = math.inf, 0
        self._best: dict[str, Tensor] = {}

    @property
    def reached(self) -> bool:
        """Whether the patience is at its end."""
        return self.patience is not None and self.epochs_since >= self.patience

    def observe(
        self, model: nn.Module, hooks: Mapping[str, StepHook], measure: Callable[[], float]
    ) -> None:
        """Measure the model after an epoch."""
        if self.patience is None or any(float(q.alpha) < 1 for q in blending_quantizers(model)):
            return
        average = next((h for h in hooks.values() if isinstance(h, WeightAverage)), None)
        with average.in_use() if average is not None else nullcontext():
            loss = measure()
            if loss < self.best_loss:
                self.best_loss, self.epochs_since = loss, 0
                self._best = {name: value.clone() for name, value in model.state_dict().items()}
            else:
                self.epochs_since += 1

    def finish(self, model: nn.Module) -> None:
        """Leave the model as it was after its best epoch, if one was judged."""
        if self._best:
            model.load_state_dict(self._best)

    def state_dict(self) -> dict[str, Any]:
        """The best epoch and how long ago it was."""
        return {
            "best_loss": self.best_loss,
            "epochs_since": self.epochs_since,
            "best": self._best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state_dict` gave."""
        self.best_loss, self.epochs_since = state["best_loss"], state["epochs_since"]
        self._best = dict(state["best"])
