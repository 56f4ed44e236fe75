"""Recording losses so that a kill at any moment costs at most the measurement that was running.

A measurement counts once its line stands in the journal: the arrays are flushed first, then the line,
with a digest of what the arrays must hold, is appended and flushed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems import InputError, Precision
from bitwright.problems.formats.atomic import write_atomic, write_atomic_with
from bitwright.problems.formats.json_text import Place, dump_json, naming, parse_json
from bitwright.significance.index import Index, read_index, write_index
from bitwright.significance.losses import float_file, losses_file, open_array, write_unmeasured

JOURNAL = "journal.jsonl"

Losses = Mapping[str, NDArray[np.float32]]
"""Losses of every object by term, each of shape (objects,)."""


def begin(folder: Path, index: Index, float_losses: Losses) -> None:
    """Lay out a folder for a new measurement; it exists once `index.json` does."""
    write_atomic(folder / JOURNAL, b"")
    for term in index.terms:
        write_atomic_with(float_file(folder, term), partial(np.save, arr=float_losses[term]))
        write_atomic_with(losses_file(folder, term), partial(write_unmeasured, shape=index.shape))
    write_index(folder, index)


class LossRecorder:
    """Continues the measurement in a folder; `seconds` says what is finished, and how long it took."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = index = read_index(folder)
        self.float_losses: Losses = {
            t: open_array(float_file(folder, t), index.shape[2:]) for t in index.terms
        }
        self._arrays = {
            t: open_array(losses_file(folder, t), index.shape, "r+") for t in index.terms
        }
        self.seconds: dict[tuple[str, Precision], float] = {}
        for key, seconds, digest in _read_journal(folder / JOURNAL):
            if key not in index.plan.cells:
                raise InputError(f"{folder / JOURNAL}: {key[0]!r} at {key[1]} is not in the index")
            if digest == self._digest(key):
                self.seconds[key] = seconds

    def record(self, component: str, precision: Precision, losses: Losses, seconds: float) -> None:
        """Keep the losses of one finished measurement for good."""
        key = (component, precision)
        for term, array in self._arrays.items():
            array[self.index.plan.cells[key]] = losses[term]
            array.flush()
        entry = {
            "component": component,
            "precision": precision.label,
            "seconds": seconds,
            "sha256": self._digest(key),
        }
        with (self.folder / JOURNAL).open("ab") as journal:
            journal.write(f"{dump_json(entry, indent=None)}\n".encode())
            journal.flush()
            os.fsync(journal.fileno())
        self.seconds[key] = seconds

    def finish(self) -> None:
        """Mark the measurement as complete; the journal has done its work."""
        write_index(self.folder, replace(self.index, seconds=self.seconds))
        (self.folder / JOURNAL).unlink(missing_ok=True)

    def _digest(self, key: tuple[str, Precision]) -> str:
        digest = hashlib.sha256()
        for array in self._arrays.values():
            digest.update(array[self.index.plan.cells[key]].tobytes())
        return digest.hexdigest()


def _read_journal(path: Path) -> list[tuple[tuple[str, Precision], float, str]]:
    """Read the finished measurements; a last line that was torn by a kill is cut off the file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole, line_end, torn = content.rpartition(b"\n")
    if torn:
        os.truncate(path, len(content) - len(torn))
    lines = whole.split(b"\n") if line_end else []
    return [_entry(line, f"{path}: line {n}") for n, line in enumerate(lines, start=1)]


def _entry(line: bytes, source: str) -> tuple[tuple[str, Precision], float, str]:
    document: Any = parse_json(line.decode(errors="replace"), source)
    place = Place(document, source)
    place.keys(("component", "precision", "seconds", "sha256"))
    with naming(source):
        precision = Precision.parse(place["precision"].text())
    key = (place["component"].text(), precision)
    return key, float(place["seconds"].number()), place["sha256"].text()
