"""Your own images as a task: a folder or a tar, with class sub-folders or a table of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import nn

from bitwright.problems.errors import InputError, nearest
from bitwright.tasks.classification import ClassificationTask, LabelledImages
from bitwright.tasks.image_files import ImageStore, decode_all, open_store
from bitwright.tasks.labels import LabelledFile, read_labels
from bitwright.tasks.models import CompactResNet
from bitwright.tasks.splitting import divide, draw_split

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFolder(ClassificationTask):
    """Images on disk and a compact residual network.

    `folder` is a folder or a tar of files `class/name.jpg`, or a folder that holds `images.tar`.
    `labels`, by default a `labels.csv` beside the images, is a CSV with the columns `file`, `class`
    and optionally `split` (train, val, test). Without splits, `val_share` and `test_share` of every
    class are drawn from `seed`. `classes` picks and orders classes; by default all, by name. Images
    are stretched to `image_size` squares and kept in memory, 3 * image_size**2 bytes each.
    """

    name = "image_folder"

    def __init__(
        self,
        folder: Path,
        *,
        labels: Path | None = None,
        classes: list[str] | None = None,
        image_size: int = 48,
        val_share: float = 0.2,
        test_share: float = 0.2,
        widths: tuple[int, ...] = (16, 32, 56),
        flip: bool = True,
        shift: int = 3,
        seed: int = 0,
    ) -> None:
        if image_size < 8:
            raise InputError(f"image_size must be at least 8 pixels, got {image_size}")
        self.widths = tuple(widths)
        store = open_store(Path(folder))
        files = _labelled_files(store, None if labels is None else Path(labels))
        names = _chosen_classes(store, files, classes)
        files = [file for file in files if file.label in names]

        keys = [file.file for file in files]
        truth = [names.index(file.label) for file in files]
        stored = [file.split for file in files if file.split is not None]
        if not stored:
            stored = draw_split(keys, truth, val_share=val_share, test_share=test_share, seed=seed)
        splits = divide(keys, truth, stored, seed=seed)
        images = torch.from_numpy(decode_all(store, keys, size=image_size))
        targets = torch.tensor(truth)
        super().__init__(
            names,
            {name: LabelledImages(images[items], targets[items]) for name, items in splits.items()},
            flip=flip,
            shift=shift,
        )

    def build_model(self) -> nn.Module:
        """A `CompactResNet`; at the default widths about 66,000 parameters in ten layers."""
        return CompactResNet(
            channels=3, classes=len(self.classes), widths=self.widths, stem_stride=2
        )


def _labelled_files(store: ImageStore, labels: Path | None) -> list[LabelledFile]:
    """What the table of labels says or, without one, what the sub-folders do."""
    if not store.files:
        raise InputError(f"'{store.path}' holds no images")
    beside = (store.path if store.path.is_dir() else store.path.parent) / "labels.csv"
    if labels is None and not beside.is_file():
        return _labelled_by_folder(store)
    table = labels or beside
    files = read_labels(table)
    known = set(store.files)
    for file in files:
        if file.file not in known:
            raise InputError(
                f"labels '{table}' name {file.file!r}, which is not in '{store.path}'; "
                f"{nearest(file.file, known, show=3)}"
            )
    return files


def _labelled_by_folder(store: ImageStore) -> list[LabelledFile]:
    """Every file `class/name`; other files at the top, such as a README, are no images."""
    files = []
    empty = set(store.folders)
    for name in store.files:
        parts = PurePosixPath(name).parts
        if len(parts) == 2:
            files.append(LabelledFile(name, parts[0]))
            empty.discard(parts[0])
        elif len(parts) > 2 or name.lower().endswith(IMAGE_SUFFIXES):
            raise InputError(
                f"without a labels.csv images must lie in '{store.path}' as class/file, got {name!r}"
            )
    if empty:
        raise InputError(f"class {min(empty)!r} has no images in '{store.path}'")
    if not files:
        raise InputError(f"'{store.path}' holds no images: no class sub-folders and no labels.csv")
    return files


def _chosen_classes(
    store: ImageStore, files: Sequence[LabelledFile], chosen: Sequence[str] | None
) -> list[str]:
    """Names of the classes in order, two or more."""
    known = {file.label for file in files}
    names = sorted(known) if chosen is None else list(chosen)
    for name in names:
        if name not in known:
            raise InputError(f"class {name!r} is unknown in '{store.path}'; {nearest(name, known)}")
    if len(set(names)) != len(names):
        raise InputError(f"classes must be named once each, got {names}")
    if len(names) < 2:
        raise InputError(f"a classifier needs two or more classes, '{store.path}' has {names}")
    return names
