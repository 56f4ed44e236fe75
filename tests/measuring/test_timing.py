"""Timing with a clock of which every tick is known: statistics, order, and going on after a kill."""

import os

import pytest

from bitwright.measuring.journal import Journal
from bitwright.measuring.timing import (
    RESOLUTION_US,
    ROUNDS_PER_LOAD,
    TURN_SECONDS,
    Times,
    pinned_to,
    time_in_rounds,
    typical_spread,
)
from bitwright.problems import InputError

from .fake import Clock, Silent


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def timed(runs, path, *, repeats=5, seed=0, key="k"):
    return time_in_rounds(
        runs, lambda: runs, repeats=repeats, seed=seed, journal=Journal(path, key), bar=Silent()
    )


def test_statistics_are_those_of_the_rounds():
    """The least, the median and their distance; an empty run is subtracted, never below the resolution."""
    times = Times((5.0, 3.0, 4.0, 10.0))
    assert (times.least, times.median, times.spread) == (3.0, 4.5, 1.5)
    less = times.without(2.5)
    assert (less.least, less.median) == (0.5, 2.0)
    assert times.without(4.5).least == RESOLUTION_US
    assert typical_spread([Times((1.0, 1.0)), Times((2.0, 4.0)), times]) == 0.5
    for wrong in ((), (1.0, -1.0), (float("nan"),)):
        with pytest.raises(InputError):
            Times(wrong)


def test_known_times_are_found(clock, tmp_path):
    """Of runs whose times are known, the least and the median are exactly these."""
    slow = iter([70.0, 50.0, 60.0])
    state = {"us": 0.0}

    def steady():
        clock.pass_(20.0)

    def drifting():
        clock.pass_(state["us"])

    state["us"] = 50.0
    journal = tmp_path / "j"
    for rounds in (1, 2, 3):  # one more round each time, each of another speed
        state["us"] = next(slow)
        times = timed({"steady": steady, "drifting": drifting}, journal, repeats=rounds)
    assert times["steady"].rounds == pytest.approx([20.0] * 3)
    assert times["drifting"].rounds == pytest.approx([70.0, 50.0, 60.0])


def test_a_turn_is_short_runs_of_a_few_milliseconds(clock, tmp_path):
    """Short runs are repeated until a turn is filled, long ones run once after one to warm up."""
    ran = {"short": 0, "long": 0}

    def short():
        ran["short"] += 1
        clock.pass_(100.0)

    def long():
        ran["long"] += 1
        clock.pass_(50_000.0)

    timed({"short": short, "long": long}, tmp_path / "j", repeats=2)
    per_turn = round(TURN_SECONDS / 100e-6)
    assert ran == {"short": 3 + 2 * (1 + per_turn), "long": 3 + 2 * 2}


def test_models_are_loaded_anew_every_few_rounds(clock, tmp_path):
    """Each load may be of another speed; every one counts, and the warm-up is repeated."""
    speeds = iter([20_000.0, 10_000.0, 30_000.0])

    def load():
        us = next(speeds)
        return {"a": lambda: clock.pass_(us)}

    times = time_in_rounds(
        ["a"], load, repeats=2 * ROUNDS_PER_LOAD + 1, seed=0,
        journal=Journal(tmp_path / "j", "k"), bar=Silent(),
    )["a"]  # fmt: skip
    expected = [20_000.0] * ROUNDS_PER_LOAD + [10_000.0] * ROUNDS_PER_LOAD + [30_000.0]
    assert times.rounds == pytest.approx(expected)
    assert times.least == 10_000.0


def test_order_is_shuffled_in_every_round(clock, tmp_path):
    """Rounds differ in their order, hold everything once, and the same seed gives the same orders."""

    def orders(seed):
        turns = []
        runs = {
            name: lambda name=name: (turns.append(name), clock.pass_(10_000.0)) for name in "abcdef"
        }
        timed(runs, tmp_path / f"{seed}-{len(list(tmp_path.iterdir()))}", repeats=4, seed=seed)
        of_rounds = turns[3 * 6 :: 2]  # behind the warm-up; every turn is two runs
        return [tuple(of_rounds[i : i + 6]) for i in range(0, 24, 6)]

    first = orders(0)
    assert all(sorted(one) == list("abcdef") for one in first)
    assert len(set(first)) == 4
    assert orders(0) == first
    assert orders(1) != first


def test_a_killed_measurement_goes_on(clock, tmp_path):
    """After a kill, finished rounds are kept, the rest is measured, and the answer is the same."""

    def steady():
        clock.pass_(10_000.0)

    def killed(after):
        left = [after]

        def run():
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            steady()

        return run

    whole = timed({"a": steady, "b": steady}, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        timed({"a": steady, "b": killed(3 + 2 * 3 + 1)}, tmp_path / "j")
    assert len(Journal(tmp_path / "j", "k").rounds()) == 3
    ran = []
    again = {name: lambda name=name: (ran.append(name), steady()) for name in "ab"}
    assert timed(again, tmp_path / "j") == whole
    assert len(ran) == 2 * (3 + 2 * 2)  # warm-up and two more rounds
    ran.clear()
    assert timed(again, tmp_path / "j") == whole
    assert ran == []


def test_a_journal_of_something_else_is_begun_anew(clock, tmp_path):
    """Rounds of another key, of other names, and cut-off lines count for nothing."""
    path = tmp_path / "j"
    timed({"a": lambda: clock.pass_(10.0)}, path, repeats=2, key="old")
    assert Journal(path, "new").rounds() == []
    found = timed({"a": lambda: clock.pass_(30.0)}, path, repeats=2, key="new")
    assert found["a"].rounds == pytest.approx([30.0, 30.0])
    with path.open("ab") as stream:
        stream.write(b'{"a": 1.')
    assert len(Journal(path, "new").rounds()) == 2
    found = timed({"a": lambda: clock.pass_(40.0)}, path, repeats=3, key="new")
    assert found["a"].rounds == pytest.approx([30.0, 30.0, 40.0])
    assert timed({"b": lambda: clock.pass_(5.0)}, path, repeats=1, key="new")[
        "b"
    ].rounds == pytest.approx([5.0])
    path.write_bytes(b"\xff\xfe no json")
    assert Journal(path, "new").rounds() == []


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system pins no processes")
def test_the_process_is_pinned_and_let_go():
    """Inside, the process has as many processors as threads; afterwards, those of before."""
    before = os.sched_getaffinity(0)
    with pinned_to(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
