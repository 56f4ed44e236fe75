"""Timing: short runs of everything in turn, in shuffled rounds, until there are enough of each."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from bitwright.measuring.journal import Journal
from bitwright.problems.errors import InputError
from bitwright.progress import Bar

Run = Callable[[], object]

TURN_SECONDS = 0.005
"""About how long one thing runs before it is the next one's turn."""

ROUNDS_PER_LOAD = 10

RESOLUTION_US = 0.01
"""The least time that is reported, in microseconds."""

_WARM_UP = 3
_MOST_RUNS = 1000


@dataclass(frozen=True, slots=True)
class Times:
    """Mean microseconds of one run, one figure per round."""

    rounds: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounds", tuple(self.rounds))
        if not self.rounds or not all(us >= 0 for us in self.rounds):
            raise InputError(f"times need one round or more, none negative, got {self.rounds}")

    @property
    def least(self) -> float:
        """The smallest: what the thing takes when nothing else is in the way."""
        return min(self.rounds)

    @property
    def median(self) -> float:
        """The middle of all rounds."""
        return float(np.median(self.rounds))

    @property
    def spread(self) -> float:
        """How far the median is above the smallest."""
        return self.median - self.least

    def without(self, overhead: float) -> Times:
        """The same less what an empty run takes, nowhere below the resolution."""
        return Times(tuple(max(us - overhead, RESOLUTION_US) for us in self.rounds))


def time_in_rounds(
    names: Iterable[str],
    load: Callable[[], Mapping[str, Run]],
    *,
    repeats: int,
    seed: int,
    journal: Journal,
    bar: Bar,
) -> dict[str, Times]:
    """Time every run once in each of `repeats` rounds; microseconds by name.

    A round takes all in a new order, so that a drift of the machine meets all alike. Now and then
    `load` gives the runs anew, since where a model lies in memory changes how long it takes. Rounds
    that the journal holds are not repeated.
    """
    names = sorted(names)
    rounds = [known for known in journal.rounds() if sorted(known) == names][:repeats]
    runs: Mapping[str, Run] = {}
    counts: dict[str, int] = {}
    for number in range(len(rounds), repeats):
        bar.update(number, repeats)
        if not runs or number % ROUNDS_PER_LOAD == 0:
            runs = {}  # those of before go first
            runs = load()
            counts = {name: _runs_per_turn(runs[name]) for name in names}
        order = list(names)
        random.Random(f"{seed} {number}").shuffle(order)
        rounds.append({name: _turn(runs[name], counts[name]) for name in order})
        journal.add(rounds[-1])
    bar.update(repeats, repeats)
    return {name: Times(tuple(one[name] for one in rounds)) for name in names}


def _runs_per_turn(run: Run) -> int:
    """Warm up, and find how many runs fit in a turn."""
    for _ in range(_WARM_UP):
        began = time.perf_counter()
        run()
        taken = time.perf_counter() - began
    return max(1, min(_MOST_RUNS, int(TURN_SECONDS / max(taken, 1e-9))))


def _turn(run: Run, count: int) -> float:
    # The first brings the model's weights back into the caches, which others used meanwhile.
    run()
    began = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - began) / count * 1e6


@contextmanager
def pinned_to(threads: int) -> Iterator[None]:
    """Keep the process on as many of its processors as there are threads, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(allowed)[-threads:]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def reported(us: float) -> Decimal:
    """Microseconds at the resolution, as tables hold them and predictions add them up.

    >>> reported(3.14159)
    Decimal('3.14')
    """
    return Decimal(f"{us:.2f}")


def typical_spread(times: Sequence[Times]) -> float:
    """The middle of all spreads, as a share of the smallest time."""
    return float(np.median([one.spread / max(one.least, RESOLUTION_US) for one in times]))
