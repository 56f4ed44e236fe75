"""Comparing solvers: what counts as best, what is said of contradictions, how runs are timed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import bitwright
from bitwright.api import compare
from bitwright.comparison import Comparison, Entry
from bitwright.problems import BitConfiguration, InputError, Precision, Solution, Status
from bitwright.problems.protocols import Proposal, SolverTraits

from .commands.problems import RESNET18, configurations, document, install, write

BITS = BitConfiguration({"a": Precision(8, 8)})


def entry(name: str, status: Status, loss: float = math.inf, bound: float = -math.inf) -> Entry:
    """A solver's entry with these figures."""
    bits = BITS if math.isfinite(loss) else None
    return Entry(name, Solution("p", name, status, bits, loss, bound), seconds=(0.1,))


OPTIMAL, FEASIBLE, INFEASIBLE, STOPPED = Status
REFUSED = Entry("x", None, "takes no ties", "refused")


@pytest.mark.parametrize(
    ("entries", "status", "loss", "bound"),
    [
        ([entry("a", FEASIBLE, 3.0, 1.0), entry("b", FEASIBLE, 2.0), REFUSED], FEASIBLE, 2.0, 1.0),
        ([entry("a", FEASIBLE, 3.0, 1.0), entry("b", OPTIMAL, 2.0, 2.0)], OPTIMAL, 2.0, 2.0),
        ([entry("a", STOPPED, bound=1.5), entry("b", FEASIBLE, 2.0, 0.5)], FEASIBLE, 2.0, 1.5),
        ([entry("a", STOPPED), entry("b", INFEASIBLE)], INFEASIBLE, math.inf, -math.inf),
        ([entry("a", STOPPED), REFUSED], STOPPED, math.inf, -math.inf),
    ],
)
def test_the_best_of_all(entries, status, loss, bound):
    """The least loss, the highest bound, and the strongest status that any solver gives."""
    comparison = Comparison("p", tuple(entries))
    assert (comparison.status, comparison.loss, comparison.lower_bound) == (status, loss, bound)
    assert not comparison.contradictions()


def test_contradictions_are_told():
    """A bound above another's loss, and infeasible beside an answer, beyond rounding, are told."""
    good = entry("good", FEASIBLE, 2.0, 1.0)
    for other, words in [
        (entry("bad", OPTIMAL, 2.5, 2.5), "bad claims that no loss is below 2.5, but good found 2"),
        (entry("bad", STOPPED, bound=2.5), "bad claims that no loss is below 2.5, but good found 2"),
        (entry("bad", INFEASIBLE), "bad claims that no configuration meets every budget, but good found one"),
    ]:  # fmt: skip
        assert Comparison("p", (other, good), rounding=0.1).contradictions() == (words,)
    near = entry("near", OPTIMAL, 2.05, 2.05)
    assert not Comparison("p", (near, good), rounding=0.1).contradictions()


class Counting:
    """Counts its runs; each finds another choice, so that it can be told which is kept."""

    name = "counting"
    traits = SolverTraits(several_budgets=True, side_ties=True)
    runs: list[str]

    def solve(self, problem, session):
        self.runs.append(self.name)
        return Proposal(problem.choice_start[:-1] + min(self.runs.count(self.name) - 1, 2), True)


@pytest.mark.parametrize("repeat", [1, 3])
def test_solvers_take_turns(tmp_path, monkeypatch, repeat):
    """Above one repeat comes a run to warm up; solvers take turns; the first timed run is kept."""
    runs: list[str] = []
    first = type("First", (Counting,), {"name": "first", "runs": runs})
    second = type("Second", (Counting,), {"name": "second", "runs": runs})
    install(monkeypatch, first=first, second=second)
    begun: list[str] = []
    found = compare(
        write(tmp_path), solvers=["second", "first"], repeat=repeat, started=begun.append
    )
    assert begun == ["second", "first"]
    assert runs == ["second", "first"] * (repeat + (repeat > 1))
    for entry_ in found.entries:
        assert len(entry_.seconds) == repeat
        assert entry_.solution.seconds == np.median(entry_.seconds)
        weight_bits = {p.weight_bits for p in entry_.solution.configuration.values()}
        assert weight_bits == ({2} if repeat == 1 else {4})


class Liar(Counting):
    name, runs = "liar", []

    def solve(self, problem, session):
        return Proposal(problem.choice_start[1:], complete=True)


class Needy(Counting):
    name, runs = "needy", []
    traits = SolverTraits(needs=("no_such_library",))


class Narrow(Counting):
    name, runs = "narrow", []
    traits = SolverTraits()


class Measuring(Counting):
    name, runs = "measuring", []
    traits = SolverTraits(evaluates=True, side_ties=True)


TIED = {"ties": [{"layers": ["conv1", "head"], "side": "weight"}]}


def test_who_cannot_answer_has_a_reason(tmp_path, monkeypatch):
    """A refusal, a missing library and an untrue answer are entries, beside the others' answers."""
    install(monkeypatch, liar=Liar, needy=Needy, narrow=Narrow)
    found = compare(write(tmp_path, **TIED), solvers=["narrow", "needy", "liar", "front"], repeat=2)
    words = {e.solver: e.word for e in found.entries}
    assert words == {
        "narrow": "refused", "needy": "missing", "liar": "failed", "front": "optimal",
    }  # fmt: skip
    reasons = [e.reason for e in found.entries]
    assert "takes no ties of one side" in reasons[0]
    assert "pip install no_such_library" in reasons[1]
    assert "proposed choice 3 for layer 'conv1'" in reasons[2]


def test_without_names_all_that_need_no_network(tmp_path, monkeypatch):
    """All installed solvers are asked, and one that measures only where there is an objective."""
    install(monkeypatch, measuring=Measuring, needy=Needy)
    asked = [e.solver for e in compare(write(tmp_path)).entries]
    assert {"exact", "front", "ilp", "needy"} <= set(asked)
    assert "measuring" not in asked

    class Objective:
        def evaluate(self, configuration):
            return 0.0

    with_objective = compare(write(tmp_path), objective=Objective(), solvers=None)
    assert "measuring" in [e.solver for e in with_objective.entries]


def test_every_solver_finds_the_optimum(tmp_path):
    """Those that prove it find the least loss of all configurations; none is contradicted."""
    best = float(min(c[0] for c in configurations(document()) if c[1]["size_bytes"] <= 26))
    found = compare(write(tmp_path), solvers=["exact", "front"], budgets={"size_bytes": 26})
    assert [s.loss for s in found.solutions] == [best, best]
    assert (found.loss, found.lower_bound, found.status) == (best, best, "optimal")
    assert found.budgets == {"size_bytes": 26}
    assert not found.contradictions()
    alone = bitwright.solve(write(tmp_path), budgets={"size_bytes": 26}, solver="front")
    assert replace(found.solutions[1], seconds=0.0) == replace(alone, seconds=0.0)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"solvers": []}, "a comparison needs one solver or more, got none"),
        ({"solvers": ["exact", "exact"]}, "solver 'exact' is given twice"),
        ({"solvers": ["exact", "exakt"]}, "unknown solver 'exakt'; did you mean 'exact'"),
        ({"solvers": ["exact", "front:a=1"]}, "solver 'front': unknown key 'a'"),
        ({"solvers": ["exact"], "repeat": 0}, "repeat must be 1 or more, got 0"),
        ({"solvers": ["exact"], "budgets": {"latency": 1}}, "budget for unknown cost 'latency'"),
    ],
)
def test_bad_input_is_no_entry(asked, message):
    """What the user got wrong is an error, raised before any solver is asked."""
    begun: list[str] = []
    with pytest.raises(InputError, match=message):
        compare(RESNET18, **asked, started=begun.append)
    assert not begun or "budgets" in asked
