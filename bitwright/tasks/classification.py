"""What classifiers of images in memory share: batches, losses and metrics."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bitwright.problems.errors import InputError, MeasurementError, nearest
from bitwright.problems.measurements import Quality
from bitwright.problems.protocols import SPLITS

BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """The images of one split, uint8 (N, channels, H, W), and their class indices, int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise InputError(
                "images must be uint8 of shape (N, channels, H, W), "
                f"got {self.images.dtype} of shape {tuple(self.images.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise InputError(
                f"labels must be int64 of shape ({len(self.images)},), "
                f"got {self.labels.dtype} of shape {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Batches:
    """One pass over a split, with a length; going through it again gives the same batches.

    The sizes are evened out below `size`, so that no pass ends on a tiny batch: 65 images come as
    33 + 32. Without a seed the order is that of the data.
    """

    data: LabelledImages
    size: int
    seed: int | None
    prepare: Callable[[Tensor, torch.Generator], Tensor] = field(repr=False)

    def __len__(self) -> int:
        return math.ceil(len(self.data) / self.size)

    def __iter__(self) -> Iterator[tuple[tuple[Tensor], Tensor]]:
        generator = torch.Generator()
        order = torch.arange(len(self.data))
        if self.seed is not None:
            order = torch.randperm(len(self.data), generator=generator.manual_seed(self.seed))
        for chosen in order.tensor_split(len(self)):
            images = self.prepare(self.data.images[chosen], generator)
            yield (images,), self.data.labels[chosen]


class ClassificationTask(ABC):
    """A `Task` over images in memory; a subclass hands its data up and builds the network.

    Networks see float32 images (N, channels, H, W) whose channels have mean 0 and variance 1 over
    the train split, and return logits (N, classes). Seeded batches of the train split are mirrored
    at random with `flip`, and moved by up to `shift` pixels each way, repeating the border.
    """

    name: str

    def __init__(
        self,
        classes: Sequence[str],
        splits: Mapping[str, LabelledImages],
        *,
        flip: bool = False,
        shift: int = 0,
    ) -> None:
        self.classes = tuple(classes)
        self.flip = flip
        self.shift = shift
        _check(self.classes, splits)
        self._splits = {name: splits[name] for name in SPLITS}
        if not 0 <= shift < min(self.image_shape[1:]):
            raise InputError(f"shift must be from 0 to below the image size, got {shift}")
        self._mean, self._std = _channel_statistics(self._splits["train"].images)

    @abstractmethod
    def build_model(self) -> nn.Module:
        """A fresh float model that maps `image_shape` to one logit per class."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return tuple(self._splits["train"].images.shape[1:])

    def example_inputs(self) -> tuple[Tensor, ...]:
        """The first image of the train split, as a batch of one."""
        return (self._normalised(self._splits["train"].images[:1]),)

    def batches(
        self, split: str, *, batch_size: int | None = None, seed: int | None = None
    ) -> Batches:
        """The batches ((images,), labels) of a split; `batch_size` is 64 unless given."""
        if split not in self._splits:
            raise InputError(f"split {split!r} is unknown; {nearest(split, SPLITS)}")
        size = BATCH_SIZE if batch_size is None else batch_size
        if size < 1:
            raise InputError(f"batch_size must be at least 1, got {size}")
        augmenting = split == "train" and seed is not None

        def prepare(images: Tensor, generator: torch.Generator) -> Tensor:
            if augmenting:
                images = _augmented(images, self.flip, self.shift, generator)
            return self._normalised(images)

        return Batches(self._splits[split], size, seed, prepare)

    def _normalised(self, images: Tensor) -> Tensor:
        return (images.float() - self._mean) / self._std

    def training_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of a batch."""
        return functional.cross_entropy(outputs, targets)

    def object_losses(self, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """Cross-entropy of every image, shape (N,)."""
        return {"classification": functional.cross_entropy(outputs, targets, reduction="none")}

    def object_classes(self, targets: Tensor) -> Tensor:
        """The labels themselves: every image is one object."""
        return targets

    def evaluator(self) -> ClassificationEvaluator:
        """A fresh evaluator."""
        return ClassificationEvaluator(self.classes)

    def fingerprint(self) -> str:
        """SHA-256 of the class names, the augmentation, and every split's images and labels."""
        digest = hashlib.sha256(repr((self.classes, self.flip, self.shift)).encode())
        for name, data in self._splits.items():
            digest.update(f"{name} {tuple(data.images.shape)}".encode())
            digest.update(np.ascontiguousarray(data.images.numpy()).data)
            digest.update(data.labels.numpy().astype("<i8").data)
        return digest.hexdigest()


class ClassificationEvaluator:
    """Counts who is taken for whom; keeps (C, C) numbers however many images pass."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._confusion = np.zeros((len(self._classes), len(self._classes)), dtype=np.int64)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in logits (N, C) and labels (N,)."""
        count = len(self._classes)
        if outputs.shape != (len(targets), count):
            raise MeasurementError(
                f"logits must have shape (images, classes) = ({len(targets)}, {count}), "
                f"got {tuple(outputs.shape)}"
            )
        broken = int((~outputs.isfinite()).any(dim=1).sum())
        if broken:
            raise MeasurementError(
                f"the logits of {broken} of {len(targets)} images hold NaN or infinity"
            )
        cells = targets.cpu() * count + outputs.detach().argmax(dim=1).cpu()
        self._confusion += torch.bincount(cells, minlength=count**2).view(count, count).numpy()

    def result(self) -> Quality:
        """Accuracy, the recall of every class (NaN where it never occurs), and the confusion."""
        seen = self._confusion.sum(axis=1)
        if not seen.sum():
            raise MeasurementError("no image was evaluated, so there is no accuracy")
        right = self._confusion.diagonal()
        recall = np.divide(right, seen, out=np.full(len(seen), np.nan), where=seen > 0)
        return Quality(
            classes=self._classes,
            metrics={"accuracy": float(right.sum() / seen.sum())},
            per_class=dict(zip(self._classes, recall.tolist(), strict=True)),
            confusion=self._confusion,
        )


def _check(classes: tuple[str, ...], splits: Mapping[str, LabelledImages]) -> None:
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise InputError(f"a classifier needs two or more different classes, got {list(classes)}")
    if set(splits) != set(SPLITS):
        raise InputError(f"a task needs the splits {list(SPLITS)}, got {list(splits)}")
    shape = splits["train"].images.shape[1:]
    for name, data in splits.items():
        if not len(data):
            raise InputError(f"the {name} split has no images")
        if data.images.shape[1:] != shape:
            raise InputError(
                f"images of the {name} split must have the shape of the train split, "
                f"{tuple(shape)}, got {tuple(data.images.shape[1:])}"
            )
        if data.labels.min() < 0 or data.labels.max() >= len(classes):
            raise InputError(
                f"labels of the {name} split must be from 0 to {len(classes) - 1}, "
                f"got {int(data.labels.min())} to {int(data.labels.max())}"
            )
    seen = torch.bincount(splits["train"].labels, minlength=len(classes))
    for label, count in zip(classes, seen.tolist(), strict=True):
        if not count:
            raise InputError(f"class {label!r} has no image in the train split")


def _channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel, each of shape (channels, 1, 1).

    The sums are whole numbers below 2**53, so they are exact and the same on every machine.
    """
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for start in range(0, len(images), 512):
        values = images[start : start + 512].double()
        total += values.sum(dim=(0, 2, 3))
        squares += values.square().sum(dim=(0, 2, 3))
    pixels = images[:, 0].numel()
    mean = total / pixels
    std = (squares / pixels - mean.square()).clamp_min(0).sqrt()
    std[std == 0] = 1.0  # a channel that never changes carries nothing: leave it at zero
    return mean.float().view(-1, 1, 1), std.float().view(-1, 1, 1)


def _augmented(images: Tensor, flip: bool, shift: int, generator: torch.Generator) -> Tensor:
    """Mirror and move each image of a batch at random, shape (N, channels, H, W)."""
    if flip:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    if shift:
        count, _, height, width = images.shape
        moves = torch.randint(-shift, shift + 1, (2, count, 1), generator=generator)
        rows = (torch.arange(height) + moves[0]).clamp(0, height - 1)
        columns = (torch.arange(width) + moves[1]).clamp(0, width - 1)
        every = torch.arange(count).view(-1, 1, 1)
        images = (
            images.movedim(1, 3)[every, rows[:, :, None], columns[:, None, :]]
            .movedim(3, 1)
            .contiguous()
        )
    return images
