"""Variables, linear rows and links: the form of an allocation problem that the general search takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitwright.search.reduction import Groups, Integers


@dataclass(frozen=True, eq=False)
class Link:
    """A table over the options of two variables, first < second; infinite losses are forbidden.

    `loss` has shape (options of the first, options of the second), `units` (R, ...) the same for
    every row, or is None where the link costs nothing.
    """

    first: int
    second: int
    loss: NDArray[np.float64]
    units: Integers | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """Take one option of every variable; the units of every row add up to at most its limit.

    Variable v owns the options `start[v]` up to `start[v + 1]`. `loss` (M,) and `units` (R, M) are
    theirs, units counted from the least of the variable, so that they and `limits` (R,) are what a
    search has to spread. `row` (M,) is the row of `groups` that an option stands for, -1 for hubs.
    """

    groups: Groups
    start: NDArray[np.int64]
    loss: NDArray[np.float64]
    units: Integers
    limits: Integers
    row: NDArray[np.int64]
    links: tuple[Link, ...] = ()

    def __len__(self) -> int:
        return len(self.start) - 1

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Options of every variable, shape (V,)."""
        return np.diff(self.start)

    def selection(self, options: NDArray[np.int64]) -> NDArray[np.int64]:
        """The problem's selection for one option (an index into `loss`) of every variable, (V,)."""
        return self.groups.selection(self.row[options[: len(self.groups)]])
