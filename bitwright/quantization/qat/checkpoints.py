"""Training checkpoints: written whole or not at all, and read only by the training they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bitwright.problems.errors import InputError
from bitwright.problems.formats.atomic import write_atomic_with


def save_checkpoint(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write atomically: a kill at any moment leaves the old file or the new one."""
    content = {"identity": dict(identity), "state": dict(state)}
    write_atomic_with(path, lambda stream: torch.save(content, stream))


def load_checkpoint(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Read the state; raises `InputError` for a damaged file and for that of another training.

    Neither is skipped silently: a file that `save_checkpoint` wrote is whole, and hours of work.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, state = content["identity"], content["state"]
    except Exception as error:
        raise InputError(
            f"checkpoint {path} is damaged or none of ours ({type(error).__name__}); "
            "delete it to train from the start"
        ) from error
    for name, value in identity.items():
        if found.get(name) != value:
            raise InputError(
                f"checkpoint {path} belongs to another training: {name} was {found.get(name)!r} "
                f"and is now {value!r}; delete it, or name another file"
            )
    return dict(state)
