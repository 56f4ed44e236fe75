"""Progress of long work on stderr: bars with time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_SECONDS_BETWEEN_LINES = 10.0


class Bar(Protocol):
    """What `Reporter.bar` hands out; `update` may be called as often as one likes."""

    def update(self, done: int, total: int, note: str = "") -> None:
        """Say that `done` of `total` steps are finished."""


class Reporter:
    """Says what is going on; `Reporter(quiet=True)` says nothing."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, emoji=False)

    def say(self, message: str) -> None:
        """Write one line; names in it are never read as markup."""
        self._console.print(message, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str) -> Iterator[Bar]:
        """Show the progress of one piece of work."""
        if self._console.is_terminal and not self._console.quiet:
            columns = (
                TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
            )  # fmt: skip
            with Progress(*columns, console=self._console, transient=True) as progress:
                yield _TerminalBar(progress, title)
        else:
            yield _LineBar(self, title)


class _TerminalBar:
    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=None, note="")

    def update(self, done: int, total: int, note: str = "") -> None:
        self._progress.update(self._task, completed=done, total=total, note=note)


class _LineBar:
    def __init__(self, reporter: Reporter, title: str) -> None:
        self._reporter, self._title = reporter, title
        self._began = self._spoke = time.monotonic()
        self._first: int | None = None

    def update(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        self._first = done if self._first is None else self._first
        if now - self._spoke < _SECONDS_BETWEEN_LINES or done >= total:
            return
        self._spoke = now
        finished = done - self._first
        left = (
            f", about {(now - self._began) / finished * (total - done):.0f} s left"
            if finished
            else ""
        )
        self._reporter.say(f"  {self._title}: {done} of {total}{left}{f', {note}' if note else ''}")
