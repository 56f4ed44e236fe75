"""The run folder: which stages are finished, from what they were made, and the manifest.

A stage is finished when its marker in `stages/` names the same inputs as now and its output files
are as they were written. Changing a setting redoes just the stages that depend on it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bitwright.problems.errors import InputError
from bitwright.problems.formats import dump_json, write_atomic
from bitwright.problems.version import __version__

_LIBRARIES = ("torch", "numpy", "scipy", "pulp", "scikit-learn", "pillow", "matplotlib")


@dataclass(frozen=True)
class RunFolder:
    """A folder `runs/NAME/` that one process at a time works in."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; raises `InputError` if another one has it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be made: {error.strerror}") from None
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self.path}: another run is working in this folder") from None
        try:
            yield
        finally:
            lock.release()

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write_json(self, name: str, document: Any) -> None:
        """Write a JSON file atomically."""
        write_atomic(self.path / name, dump_json(document) + "\n")

    def read_json(self, name: str) -> Any:
        """Read a JSON file that a stage wrote; raises `InputError` for a damaged one."""
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(f"{path}: damaged; delete it to have it made again") from None

    def is_finished(self, stage: str, fingerprint: str) -> bool:
        """Whether the stage was made from these inputs and its outputs are as they were written."""
        marker = self._marker(stage)
        if marker is None or marker["fingerprint"] != fingerprint:
            return False
        outputs = marker["outputs"].items()
        return all(d is not None and digest_of_file(self.path / n) == d for n, d in outputs)

    def finish(self, stage: str, fingerprint: str, outputs: Sequence[str], seconds: float) -> None:
        """Mark a stage as finished."""
        marker = {
            "fingerprint": fingerprint,
            "seconds": round(seconds, 3),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "versions": _versions(),
            "outputs": {name: digest_of_file(self.path / name) for name in outputs},
        }
        self.write_json(f"stages/{stage}.json", marker)

    def outputs(self, stage: str) -> dict[str, str]:
        """The files that a stage last wrote and their digests; empty if it never finished."""
        marker = self._marker(stage)
        return {} if marker is None else dict(marker["outputs"])

    def _marker(self, stage: str) -> Any:
        try:
            marker = self.read_json(f"stages/{stage}.json")
        except (OSError, ValueError):
            return None
        keys = {"fingerprint", "seconds", "finished", "versions", "outputs"}
        return marker if isinstance(marker, dict) and keys <= marker.keys() else None

    def write_manifest(self, config: Mapping[str, Any], stages: Sequence[str], data: str) -> None:
        """Write `manifest.json`: seeds, configuration, data fingerprint; versions and times by stage."""
        markers = {stage: self._marker(stage) for stage in stages}
        document = {
            "format": "bitwright-manifest/1",
            "versions": _versions(),
            "machine": platform.machine(),
            "seed": config["seed"],
            "verify_seeds": config["verify"]["seeds"],
            "data_fingerprint": data,
            "stages": {
                stage: {
                    key: marker[key] for key in ("seconds", "finished", "versions", "fingerprint")
                }
                for stage, marker in markers.items()
                if marker is not None
            },
            "config": config,
        }
        self.write_json("manifest.json", document)


def fingerprint(**inputs: Any) -> str:
    """A digest of plain values: the same values, the same text."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def digest_of_file(path: Path) -> str | None:
    """SHA-256 of a file's bytes; None if it is not there."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def _versions() -> dict[str, str]:
    found = {"bitwright": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
