"""Tiny images, in folders and tars, for the tests of the tasks."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("bike", "car", "truck")


def png(seed: int, *, size: tuple[int, int] = (12, 10)) -> bytes:
    """A PNG of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def pictures() -> dict[str, bytes]:
    """Ten small PNGs for each of three classes, by name."""
    return {
        f"{label}/{item}.png": png(10 * place + item)
        for place, label in enumerate(CLASSES)
        for item in range(10)
    }


@pytest.fixture
def as_folder(tmp_path) -> Callable[[Mapping[str, bytes]], Path]:
    """Writes files into a folder."""

    def write(files: Mapping[str, bytes]) -> Path:
        root = tmp_path / "pictures"
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return root

    return write


@pytest.fixture
def as_tar(tmp_path) -> Callable[..., Path]:
    """Writes files, and further members, into a tar."""

    def write(
        files: Mapping[str, bytes],
        *more: tarfile.TarInfo,
        name: str = "images.tar",
        mode: str = "w",
    ) -> Path:
        path = tmp_path / name
        with tarfile.open(path, mode) as tar:
            for file, content in files.items():
                member = tarfile.TarInfo(file)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            for member in more:
                tar.addfile(member)
        return path

    return write
