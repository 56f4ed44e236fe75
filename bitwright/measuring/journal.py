"""The journal of a measurement: finished rounds, so that a run that is killed goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bitwright.problems.errors import InputError
from bitwright.problems.formats.atomic import write_atomic


class Journal:
    """A file of one line per round beside the file that is to be written.

    The first line says what is measured (`key`); a journal of something else is begun anew. A line
    that a kill cut off counts for nothing.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self._key = key

    def rounds(self) -> list[dict[str, float]]:
        """The rounds that were finished, microseconds by name."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from error
        if _parsed(lines[0]) != {"key": self._key}:
            return []
        rounds = []
        for line in lines[1:-1]:
            times = {name: us for name, us in _parsed(line).items() if isinstance(us, float)}
            if times:
                rounds.append(times)
        return rounds

    def add(self, finished: Mapping[str, float]) -> None:
        """Add a round."""
        lines = [json.dumps(dict(finished)), ""]
        known = self.rounds()
        if not known:
            write_atomic(self.path, "\n".join([json.dumps({"key": self._key}), *lines]))
            return
        with self.path.open("rb+") as stream:
            # What a kill left of a line goes.
            content = stream.read()
            stream.truncate(content.rfind(b"\n") + 1)
            stream.seek(0, 2)
            stream.write("\n".join(lines).encode())


def _parsed(line: bytes) -> dict[str, object]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
