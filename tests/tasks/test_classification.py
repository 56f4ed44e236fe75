"""Batches, losses and metrics of the classification base, against scikit-learn and by hand."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score
from torch import nn

from bitwright.problems.errors import InputError, MeasurementError
from bitwright.problems.protocols import SPLITS, Evaluator, Task
from bitwright.tasks.classification import (
    ClassificationEvaluator,
    ClassificationTask,
    LabelledImages,
)

COUNTS = {"train": 65, "mine": 9, "score": 8, "test": 20}


class Toy(ClassificationTask):
    name = "toy"

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(len(self.classes)))


def toy_splits(seed: int = 0, *, channels: int = 3) -> dict[str, LabelledImages]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: LabelledImages(
            torch.randint(0, 256, (count, channels, 6, 5), generator=generator).to(torch.uint8),
            torch.arange(count) % 3,
        )
        for name, count in COUNTS.items()
    }


def toy(**options) -> Toy:
    return Toy(["a", "b", "c"], toy_splits(), **options)


def drawn(task, split, **options):
    batches = list(task.batches(split, **options))
    return torch.cat([inputs[0] for inputs, _ in batches]), torch.cat([t for _, t in batches])


def test_fulfils_the_protocol():
    """A subclass with a name and a network is a `Task`, and its evaluator an `Evaluator`."""
    task: Task = toy()
    evaluator: Evaluator = task.evaluator()
    assert isinstance(task, Task)
    assert evaluator is not task.evaluator()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_batches_cover_the_split_evenly(split, size):
    """Every image comes once, in batches of at most the asked size that differ by one at most."""
    sizes = [len(targets) for _, targets in toy().batches(split, batch_size=size)]
    assert sum(sizes) == COUNTS[split]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == math.ceil(COUNTS[split] / size)
    assert len(toy().batches(split, batch_size=size)) == len(sizes)


def test_default_batch_leaves_no_tiny_one():
    """65 images come as 33 and 32, not as 64 and 1."""
    assert [len(targets) for _, targets in toy().batches("train")] == [33, 32]


def test_unseeded_batches_are_fixed_and_plain():
    """Without a seed nothing is augmented and the order is that of the data."""
    task = toy(flip=True, shift=2)
    images, labels = drawn(task, "train")
    data = toy_splits()["train"]
    values = data.images.numpy().astype(np.float64)
    mean = values.mean(axis=(0, 2, 3), keepdims=True)
    std = values.std(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose(images.numpy(), (values - mean) / std, atol=1e-5)
    assert images.dtype == torch.float32
    assert labels.equal(data.labels)


def test_batches_can_be_gone_through_again():
    """A second pass over the same seeded batches gives the same tensors."""
    batches = toy(flip=True, shift=2).batches("train", seed=1)
    for (first, labels), (again, same) in zip(batches, batches, strict=True):
        assert first[0].equal(again[0])
        assert labels.equal(same)


@pytest.mark.parametrize("split", SPLITS)
def test_seed_decides_order_and_augmentation(split):
    """Equal seeds give equal batches, different seeds different ones."""
    task = toy(flip=True, shift=2)
    first, again, other = (drawn(task, split, seed=seed) for seed in (4, 4, 5))
    assert first[0].equal(again[0])
    assert first[1].equal(again[1])
    assert not first[0].equal(other[0])


def test_only_train_is_augmented():
    """Seeded batches of any other split hold the very images of the fixed order."""
    task = toy(flip=True, shift=2)
    plain, _ = drawn(task, "test")
    seeded, _ = drawn(task, "test", seed=1)
    assert sorted(plain.flatten(1).tolist()) == sorted(seeded.flatten(1).tolist())
    plain, _ = drawn(task, "train")
    seeded, _ = drawn(task, "train", seed=1)
    assert sorted(plain.flatten(1).tolist()) != sorted(seeded.flatten(1).tolist())


def test_augmentation_mirrors_and_moves():
    """Every augmented image is one of the mirrored and moved versions of its source."""
    task = toy(flip=True, shift=1)
    order = torch.randperm(65, generator=torch.Generator().manual_seed(2))
    plain, _ = drawn(task, "train", batch_size=65)
    seeded, _ = drawn(task, "train", batch_size=65, seed=2)
    assert seeded.is_contiguous()
    seen = set()
    for image, source in zip(seeded, plain[order], strict=True):
        padded = nn.functional.pad(source[None], (1, 1, 1, 1), mode="replicate")[0]
        versions = {
            (mirror, dy, dx): (padded.flip(2) if mirror else padded)[:, dy : dy + 6, dx : dx + 5]
            for mirror in (False, True)
            for dy in range(3)
            for dx in range(3)
        }
        seen.add(next(key for key, version in versions.items() if version.equal(image)))
    assert len(seen) > 12


def test_a_constant_channel_stays_finite():
    """A channel without contrast becomes zero instead of NaN."""
    splits = toy_splits()
    for data in splits.values():
        data.images[:, 1] = 77
    images, _ = drawn(Toy(["a", "b", "c"], splits), "train")
    assert images.isfinite().all()
    assert images[:, 1].abs().max() == 0


def test_object_losses_average_to_the_training_loss():
    """The mean over the objects is the loss that training minimises."""
    task = toy()
    logits = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(10) % 3
    losses = task.object_losses(logits, targets)
    assert list(losses) == ["classification"]
    assert losses["classification"].shape == (10,)
    torch.testing.assert_close(losses["classification"].mean(), task.training_loss(logits, targets))
    assert task.object_classes(targets).equal(targets)


def test_example_inputs_run():
    """The example is one image that the network takes."""
    task = toy()
    assert task.build_model()(*task.example_inputs()).shape == (1, 3)
    assert task.example_inputs()[0].shape == (1, *task.image_shape)


def test_evaluator_agrees_with_scikit_learn():
    """Accuracy, recall and confusion equal scikit-learn's, whatever the batches."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.standard_normal((200, 4)))
    truth = torch.from_numpy(rng.integers(0, 4, 200))
    guess = logits.argmax(1)
    evaluator = ClassificationEvaluator("wxyz")
    for some, labels in zip(logits.split(33), truth.split(33), strict=True):
        evaluator.update(some, labels)
    quality = evaluator.result()
    assert (quality.main_name, quality.main) == ("accuracy", accuracy_score(truth, guess))
    np.testing.assert_array_equal(quality.confusion, confusion_matrix(truth, guess))
    np.testing.assert_allclose(
        list(quality.per_class.values()), recall_score(truth, guess, average=None)
    )


def test_absent_class_has_no_recall():
    """A class that never occurs is NaN, and those that do are not disturbed by it."""
    evaluator = ClassificationEvaluator("xyz")
    evaluator.update(torch.eye(3)[[0, 2, 2]], torch.tensor([0, 0, 2]))
    per_class = evaluator.result().per_class
    assert math.isnan(per_class["y"])
    assert (per_class["x"], per_class["z"]) == (0.5, 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_broken_logits_are_no_class(value):
    """NaN or infinite logits raise, and the batch is not counted."""
    evaluator = ClassificationEvaluator("xy")
    logits = torch.zeros(5, 2)
    logits[1:3, 0] = value
    with pytest.raises(MeasurementError, match="logits of 2 of 5 images hold NaN or infinity"):
        evaluator.update(logits, torch.zeros(5, dtype=torch.int64))
    with pytest.raises(MeasurementError, match="no image was evaluated"):
        evaluator.result()


def test_logits_of_another_shape():
    """A network with another number of outputs is reported with both shapes."""
    with pytest.raises(MeasurementError, match=r"\(images, classes\) = \(4, 3\), got \(4, 2\)"):
        ClassificationEvaluator("xyz").update(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))


def test_result_is_a_snapshot():
    """Counting on does not change a result handed out before."""
    evaluator = ClassificationEvaluator("xy")
    evaluator.update(torch.eye(2), torch.tensor([0, 1]))
    before = evaluator.result()
    evaluator.update(torch.eye(2), torch.tensor([1, 0]))
    assert before.confusion.tolist() == [[1, 0], [0, 1]]


def test_fingerprint_tells_data_and_options_apart():
    """Equal data gives equal text; a pixel, a label, a name or the augmentation changes it."""
    pixel, label = toy_splits(), toy_splits()
    pixel["test"].images[3, 1, 2, 2] ^= 1
    label["score"].labels[0] = 2
    variants = [
        toy(),
        toy(flip=True),
        toy(shift=1),
        Toy(["a", "c", "b"], toy_splits()),
        Toy(["a", "b", "c"], pixel),
        Toy(["a", "b", "c"], label),
    ]
    assert len({task.fingerprint() for task in variants}) == len(variants)
    assert toy().fingerprint() == toy().fingerprint()


def test_pickles():
    """A task can be sent to a worker."""
    task = pickle.loads(pickle.dumps(toy(flip=True)))
    assert task.fingerprint() == toy(flip=True).fingerprint()
    assert task.example_inputs()[0].equal(toy().example_inputs()[0])


def test_unknown_split():
    """A mistyped split is refused at once, with the nearest name."""
    with pytest.raises(InputError, match="split 'tests' is unknown; did you mean 'test'"):
        toy().batches("tests")


def test_batch_size_out_of_range():
    """An empty batch is refused at once."""
    with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
        toy().batches("train", batch_size=0)


@pytest.mark.parametrize(
    ("classes", "change", "message"),
    [
        (["a"], {}, r"two or more different classes, got \['a'\]"),
        (["a", "b", "a"], {}, "two or more different classes"),
        (["a", "b"], {}, "labels of the train split must be from 0 to 1, got 0 to 2"),
        (["a", "b", "c", "d"], {}, "class 'd' has no image in the train split"),
        (["a", "b", "c"], {"score": 0}, "the score split has no images"),
    ],
)
def test_inconsistent_data(classes, change, message):
    """Data that contradicts the classes is refused, by name."""
    splits = toy_splits()
    for name, count in change.items():
        splits[name] = LabelledImages(splits[name].images[:count], splits[name].labels[:count])
    with pytest.raises(InputError, match=message):
        Toy(classes, splits)


def test_split_names_and_shapes():
    """All four splits are needed, with images of one shape."""
    splits = toy_splits()
    with pytest.raises(InputError, match=r"a task needs the splits .* got"):
        Toy(["a", "b", "c"], {name: splits[name] for name in ("train", "test")})
    splits["test"] = toy_splits(channels=1)["test"]
    with pytest.raises(InputError, match=r"test split .* \(3, 6, 5\), got \(1, 6, 5\)"):
        Toy(["a", "b", "c"], splits)


@pytest.mark.parametrize("shift", [-1, 5])
def test_shift_out_of_range(shift):
    """A shift beyond the image is refused."""
    with pytest.raises(InputError, match=f"shift must be .* got {shift}"):
        toy(shift=shift)


def test_images_and_labels_must_match():
    """Images are uint8 of four dimensions, labels one int64 per image."""
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"images must be uint8 .* got torch.float32"):
        LabelledImages(images.float(), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InputError, match=r"labels must be int64 of shape \(2,\), got .*\(3,\)"):
        LabelledImages(images, torch.zeros(3, dtype=torch.int64))
