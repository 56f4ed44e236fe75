"""The losses of single objects, kept in a folder: `bitwright-significance/1`.

    index.json                what is measured on what; `seconds` is null until all of it is there
    float_losses_<term>.npy   float32 [object], the network as trained
    losses_<term>.npy         float32 [component, precision, object], only that component quantized
    journal.jsonl             while measuring: one line per finished (component, precision)

A precision that a component may not take is a row of NaN. From these arrays every question is
answered (any class group, any weighting, standard errors, reliability) without running the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bitwright.problems import InputError, Precision
from bitwright.significance.index import Plan, read_index


@dataclass(frozen=True, eq=False)
class ObjectLosses:
    """Losses of every object, by term; lower is better. The arrays are memory maps, read-only.

    `losses[term]` has shape (components, precisions, objects), NaN where a precision is not
    offered; `float_losses[term]` and `object_classes` have shape (objects,).
    """

    plan: Plan
    object_classes: NDArray[np.int64]
    float_losses: Mapping[str, NDArray[np.float32]]
    losses: Mapping[str, NDArray[np.float32]]
    seconds: Mapping[tuple[str, Precision], float]


def read_losses(folder: Path) -> ObjectLosses:
    """Open a finished measurement; raises `InputError` for one that is unfinished or damaged."""
    index = read_index(folder)
    if index.seconds is None:
        raise InputError(f"{folder}: the measurement is not finished; score again to resume it")
    return ObjectLosses(
        plan=index.plan,
        object_classes=np.array(index.object_classes, dtype=np.int64),
        float_losses={t: open_array(float_file(folder, t), index.shape[2:]) for t in index.terms},
        losses={t: open_array(losses_file(folder, t), index.shape) for t in index.terms},
        seconds=index.seconds,
    )


def float_file(folder: Path, term: str) -> Path:
    """Where the float network's losses of one term stand."""
    return folder / f"float_losses_{term}.npy"


def losses_file(folder: Path, term: str) -> Path:
    """Where the measured losses of one term stand."""
    return folder / f"losses_{term}.npy"


def open_array(
    path: Path, shape: tuple[int, ...], mode: Literal["r", "r+"] = "r"
) -> np.memmap[Any, np.dtype[np.float32]]:
    """Map a float32 array of a known shape; raises `InputError` for anything else."""
    try:
        array = np.lib.format.open_memmap(path, mode=mode)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged, or no array: {error}".splitlines()[0]) from None
    if array.dtype != np.float32 or array.shape != shape:
        raise InputError(
            f"{path}: must be float32 of shape {shape}, got {array.dtype} of shape {array.shape}"
        )
    return array


def write_unmeasured(stream: IO[bytes], shape: tuple[int, int, int]) -> None:
    """Write an array of NaN, a component at a time, so that a full disk is found out at once."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for _ in range(shape[0]):
        stream.write(np.full(shape[1:], np.nan, dtype="<f4").tobytes())
