"""Image files in a folder or a tar: listed, read and decoded without trusting what they hold.

Nothing is extracted, links are refused, files are only ever looked up in the listing (so a label
cannot point outside), and images beyond Pillow's limit on pixels are an error.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import warnings
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import InputError, nearest

FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""The decoders in use; some of Pillow's others run external programs."""

_TAR_ERRORS = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError)


class ImageStore(Protocol):
    """Files by name, such as `class/file.jpg`, and the folders at the top; hidden ones left out."""

    path: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the named files, in the order that reads fastest."""


def open_store(path: Path) -> ImageStore:
    """Open a tar, a folder that holds `images.tar`, or a folder of files."""
    if path.is_file():
        return TarStore(path)
    if not path.is_dir():
        around = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"image folder '{path}' does not exist; {nearest(path.name, around)}")
    packed = path / "images.tar"
    return TarStore(packed) if packed.is_file() else FolderStore(path)


class FolderStore:
    """The files below a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        files, folders = [], []
        for entry in sorted(path.rglob("*")):
            name = entry.relative_to(path)
            if _hidden(name.parts):
                continue
            if entry.is_symlink():
                raise InputError(f"'{entry}' is a link; an image folder must hold plain files")
            if entry.is_file():
                files.append(name.as_posix())
            elif entry.is_dir() and len(name.parts) == 1:
                folders.append(name.as_posix())
        self.files = tuple(files)
        self.folders = tuple(folders)

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the named files."""
        for name in names:
            try:
                yield name, (self.path / name).read_bytes()
            except OSError as error:
                raise InputError(f"image '{self.path / name}' cannot be read: {error}") from error


class TarStore:
    """The members of a tar file, plain or compressed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        files: set[str] = set()
        folders: list[str] = []
        for member in self._members():
            name = PurePosixPath(member.name)
            if _hidden(name.parts):
                continue
            if member.isfile():
                if str(name) in files:
                    raise InputError(f"tar '{path}' holds {str(name)!r} twice")
                files.add(str(name))
            elif member.isdir():
                folders += name.parts if len(name.parts) == 1 else ()
            else:
                raise InputError(
                    f"member {member.name!r} of tar '{path}' is a link or a device; "
                    "only plain files are read"
                )
        self.files = tuple(sorted(files))
        self.folders = tuple(sorted(folders))

    def _members(self) -> list[tarfile.TarInfo]:
        try:
            with tarfile.open(self.path) as tar:
                members = tar.getmembers()
                # tarfile stops silently at a broken header; a whole archive ends in a zero block.
                assert tar.fileobj is not None
                tar.fileobj.seek(tar.offset)
                whole = tar.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
        except _TAR_ERRORS as error:
            raise InputError(f"'{self.path}' is not a whole tar file: {error}") from error
        if not whole:
            raise InputError(f"'{self.path}' is not a whole tar file: its end mark is missing")
        return members

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the named files, in the order of the archive."""
        wanted = set(names)
        try:
            with tarfile.open(self.path) as tar:
                for member in tar:
                    name = str(PurePosixPath(member.name))
                    if name in wanted and (stream := tar.extractfile(member)) is not None:
                        yield name, stream.read()
        except _TAR_ERRORS as error:
            raise InputError(f"tar '{self.path}' cannot be read: {error}") from error


def decode_all(store: ImageStore, names: Collection[str], *, size: int) -> NDArray[np.uint8]:
    """Decode the named files to RGB squares, shape (N, 3, size, size), in the order of `names`."""
    from PIL import Image

    position = {name: place for place, name in enumerate(names)}
    images = np.empty((len(position), 3, size, size), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for name, content in store.read(position):
            images[position[name]] = _decoded(content, size, f"'{name}' in '{store.path}'")
    return images


def _decoded(content: bytes, size: int, what: str) -> NDArray[np.uint8]:
    """Decode one file to (3, size, size); the picture is stretched to a square."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            square = upright.resize((size, size), Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:
        raise InputError(f"{what} is not an image; known: {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"image {what} is too large: {error}") from error
    except Exception as error:  # decoders fail in many ways on damaged bytes
        raise InputError(f"image {what} cannot be decoded: {error}") from error
    return np.asarray(square).transpose(2, 0, 1)


def _hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") and part != ".." for part in parts)
