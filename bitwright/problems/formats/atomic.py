"""Atomic writing: a file is there whole or not at all, whatever happens in between."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bitwright.problems.errors import InputError


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a temporary file beside `path`, then rename it; raises `InputError` if that fails."""
    try:
        data = content.encode() if isinstance(content, str) else content
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: cannot be written as UTF-8: {error.reason}") from None
    write_atomic_with(path, lambda stream: stream.write(data))


def write_atomic_with(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Like `write_atomic`, for writers that want a binary stream."""
    path = Path(path)
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files for the owner alone; results are as readable as any other new file.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
        temporary = None
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
