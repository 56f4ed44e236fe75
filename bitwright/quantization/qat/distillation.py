"""Knowledge distillation: how far a network's outputs are from those of its float teacher."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitwright.problems.errors import InputError
from bitwright.quantization.qat.float_distance import relative_distance

Distance = Callable[[Any, Any, float], Tensor]


def output_distance(student: Any, teacher: Any, temperature: float) -> Tensor:
    """Mean distance of two networks' outputs, added over the tensors of a nest.

    Float tensors of shape (N, classes) are taken for logits: T^2 KL(softmax(teacher / T) ||
    softmax(student / T)), averaged over N (Hinton et al. 2015). Other float tensors: the mean
    squared difference. Anything else is left out.
    """
    parts = list(_distances(student, teacher, temperature))
    if not parts:
        raise InputError("training: the outputs hold no float tensor to distil")
    return torch.stack(parts).sum()


def _distances(student: Any, teacher: Any, temperature: float) -> list[Tensor]:
    if isinstance(student, Tensor):
        if not student.is_floating_point():
            return []
        student, teacher = student.float(), teacher.float()
        if student.ndim != 2:
            return [functional.mse_loss(student, teacher)]
        divergence = functional.kl_div(
            functional.log_softmax(student / temperature, 1),
            functional.log_softmax(teacher / temperature, 1),
            reduction="batchmean",
            log_target=True,
        )
        return [temperature**2 * divergence]
    if isinstance(student, Mapping):
        pairs = [(student[key], teacher[key]) for key in student]
    elif isinstance(student, tuple | list):
        pairs = list(zip(student, teacher, strict=True))
    else:
        return []
    return [d for one, other in pairs for d in _distances(one, other, temperature)]


class Teacher:
    """A frozen copy of the float network, and how a task measures the distance to it.

    A task may have `distillation_loss(student_outputs, teacher_outputs, temperature) -> Tensor` of
    its own; the default is `output_distance`. `pull` is the weight of `relative_distance`, which is
    added as it is (Chen & Lou 2022).
    """

    def __init__(
        self, model: nn.Module, task: Any, weight: float, temperature: float, pull: float = 0.0
    ) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.weight, self.temperature, self.pull = weight, temperature, pull
        self._distance: Distance = getattr(task, "distillation_loss", output_distance)

    def fingerprint(self) -> str:
        """A digest of the teacher's state: the same network, the same text."""
        digest = hashlib.sha256()
        for name, value in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(value.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def blended(self, loss: Tensor, inputs: tuple[Any, ...], outputs: Any) -> Tensor:
        """The task's loss and the distance to the teacher's outputs, weighed against each other."""
        with torch.no_grad():
            wanted = self.model(*inputs)
        if self.weight:
            distance = self._distance(outputs, wanted, self.temperature)
            loss = (1 - self.weight) * loss + self.weight * distance
        if self.pull:
            loss = loss + self.pull * relative_distance(outputs, wanted)
        return loss
