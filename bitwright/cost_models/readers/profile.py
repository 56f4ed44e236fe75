"""What a profile of any tool says: one row per step of the network, with its time in one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from bitwright.problems.errors import InputError, nearest

Statistic = Literal["median", "mean", "min"]
STATISTICS: tuple[Statistic, ...] = ("median", "mean", "min")
LONGEST_NAME = 100_000


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of a profile: a step of the network, which may be several layers at once.

    `time_us` is its time in one run, `count` the runs that it was taken from, and `spread_us` the
    distance of the quartiles of these runs, None where the file does not say. `kind` is the tool's
    own word for the operation (`Conv`, `CONV_2D`, `Reorder`), empty where it has none. `inputs` and
    `outputs` are the shapes of the tensors, weights among the inputs, where the file says them.
    `details` holds the rest as text; `computed_in` there is the type that it ran in.
    """

    name: str
    time_us: Fraction
    count: int
    spread_us: Fraction | None = None
    kind: str = ""
    details: Mapping[str, str] = field(default_factory=dict, hash=False)
    inputs: tuple[tuple[int, ...], ...] = ()
    outputs: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > LONGEST_NAME:
            raise InputError(
                f"a row's name has 1 to {LONGEST_NAME:,} characters, got {len(self.name):,}"
            )
        for what, value in (
            ("time", self.time_us),
            ("spread", self.spread_us),
            ("count", self.count),
        ):
            if value is not None and value < 0:
                raise InputError(f"{what} must not be negative, got {float(value):g}")


@dataclass(frozen=True, slots=True)
class Profile:
    """The rows of a profile in the order in which they run; `notes` say how the file was read."""

    tool: str
    rows: tuple[Measurement, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        object.__setattr__(self, "notes", tuple(self.notes))
        if not self.rows:
            raise InputError("the profile has no rows")
        if not self.total_us:
            raise InputError("no row of the profile took any time")

    @property
    def total_us(self) -> Fraction:
        """The sum of all rows: the time of one run as far as the profile sees it."""
        return sum((row.time_us for row in self.rows), Fraction(0))


def statistic_of(times: Sequence[Fraction], statistic: Statistic) -> Fraction:
    """The median, mean or minimum of times, of which there is at least one."""
    if statistic == "mean":
        return sum(times, Fraction(0)) / len(times)
    return min(times) if statistic == "min" else quantile(times, Fraction(1, 2))


def quartile_distance(times: Sequence[Fraction]) -> Fraction | None:
    """The distance from the first quartile to the third; None for fewer than four times."""
    if len(times) < 4:
        return None
    return quantile(times, Fraction(3, 4)) - quantile(times, Fraction(1, 4))


def quantile(times: Sequence[Fraction], share: Fraction) -> Fraction:
    """The value below which a share of the times lies, interpolated between neighbours."""
    ordered = sorted(times)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def require_statistic(statistic: str | None) -> None:
    """Raise `InputError` for a statistic that there is not; None leaves the choice to the reader."""
    if statistic is not None and statistic not in STATISTICS:
        raise InputError(f"unknown statistic {statistic!r}; {nearest(statistic, STATISTICS)}")


def only_mean(source: str, statistic: Statistic | None) -> None:
    """Refuse any other statistic for a file that gives averages alone."""
    if statistic not in (None, "mean"):
        raise InputError(f"{source}: this file gives averages alone, no {statistic}")
