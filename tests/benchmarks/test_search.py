"""The search benchmark: answers are judged exactly, ratios say what they leave out, tables are whole."""

import json
import subprocess
import sys
import time

import pytest

from benchmarks.instances import Spec, problem_of
from benchmarks.search_contenders import OURS, ROOT, Contender
from benchmarks.search_report import duration, markdown
from benchmarks.search_results import Result, Runs, faults, gap, judge
from benchmarks.search_rivals import RIVALS
from benchmarks.search_rows import Row, rows
from bitwright.testing.brute_force import brute_force

SPEC = Spec("network", 5, 4)
JOB = {"work": "solve", "instance": SPEC.document(), "seconds": 10.0}


def result(**runs):
    """A row of one job with these runs by contender."""
    names = {"ours": "without numba", "cbc": "PuLP+CBC", "highs": "PuLP+HiGHS"}
    return Result(Row("title", "target", (JOB,)), [{names[n]: run for n, run in runs.items()}])


def answer(selection, **facts):
    """What a worker says, with the selection as positions."""
    start = problem_of(SPEC).choice_start[:-1]
    return {"selection": (start + selection).tolist(), "bound": 0.0, "proved": True, **facts}


def test_answers_are_recomputed():
    """Loss and budgets are worked out from the problem, whatever the solver said."""
    problem = problem_of(SPEC)
    cheapest = judge(answer(0), SPEC.document())
    assert cheapest["loss"] == problem.evaluate(problem.choice_start[:-1]).loss
    assert not cheapest["over_budget"]
    assert judge(answer(3), SPEC.document())["over_budget"]


def test_wrong_answers_are_told():
    """A broken budget and a worse answer called optimal are told, the best answer is not."""
    best = brute_force(problem_of(SPEC)).selection - problem_of(SPEC).choice_start[:-1]
    found = result(
        ours=Runs([1.0], judge(answer(best), SPEC.document())),
        cbc=Runs([1.0], judge(answer(3), SPEC.document())),
        highs=Runs([1.0], judge(answer(0), SPEC.document())),
    )
    over, worse = faults([found])
    assert (over.contender, over.worse) == ("PuLP+CBC", float("inf"))
    losses = found.runs[0]["PuLP+HiGHS"].facts["loss"], found.runs[0]["without numba"].facts["loss"]
    assert (worse.contender, worse.worse) == ("PuLP+HiGHS", losses[0] / losses[1] - 1)
    text = markdown([found])
    assert "- PuLP+CBC: 1 broke a budget (network 5 x 4, seed 0)" in text
    assert "- PuLP+HiGHS: 1 called optimal were worse than another's, by up to" in text


def test_ratios_say_who_gave_up():
    """The ratio is theirs over ours, marked where one of both is only a time of giving up."""
    done, stopped = {"proved": True}, {"proved": False}
    both = result(ours=Runs([0.1, 0.1], done), cbc=Runs([3.0, 5.0], done))
    assert both.ratio("PuLP+CBC", "without numba") == pytest.approx((40, ""))
    gave_up = result(ours=Runs([0.1], done), cbc=Runs([60.0], stopped))
    assert gave_up.ratio("PuLP+CBC", "without numba")[1] == "> "
    ours_gave_up = result(ours=Runs([60.0], stopped), cbc=Runs([1.0], done))
    assert ours_gave_up.ratio("PuLP+CBC", "without numba") is None


def test_gaps_are_of_recomputed_losses():
    """A gap is between the loss worked out here and the bound claimed; none without either."""
    assert gap({"loss": 2.0, "bound": 1.0, "over_budget": False}) == 0.5
    assert gap({"loss": 2.0, "bound": 1.0, "over_budget": True}) == float("inf")
    assert gap({"loss": None, "bound": 1.0}) == float("inf")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.34e-4, "230 us"), (0.0123, "12 ms"), (4.56, "4.6 s"), (1234, "1,200 s")],
)
def test_durations(seconds, text):
    """Two figures, and a unit that suits."""
    assert duration(seconds) == text


def test_every_row_has_every_column():
    """A table of rows that nobody has run says so in every cell, and keeps its width."""
    for quick in (True, False):
        found = rows(quick=quick, seconds=1.0, seed=0)
        lines = markdown([Result(row, [{} for _ in row.jobs]) for row in found]).splitlines()
        assert len(lines) == 2 + len(found)
        assert len({line.count("|") for line in lines}) == 1


def test_a_worker_that_ends_is_reported():
    """Where a library is missing or a process dies, the reason comes back and nothing hangs."""
    contender = Contender("CP-SAT", 0, python="/bin/false")
    assert contender.ask(JOB) == {"failed": "the process ended"}
    contender.close()


def test_a_worker_answers():
    """Our own worker solves a job as this process does."""
    contender = Contender("without numba", 0)
    said = contender.ask(JOB)
    contender.close()
    assert said["proved"]
    assert said["selection"] == brute_force(problem_of(SPEC)).selection.tolist()


@pytest.mark.slow
def test_quick_mode(tmp_path):
    """In less than two minutes there is a table with all rows, and a file with all figures."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.search", "--quick", "--json", str(tmp_path / "f.json")],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    facts = json.loads((tmp_path / "f.json").read_text())
    expected = rows(quick=True, seconds=2.0, seed=0)
    assert [row["title"] for row in facts["rows"]] == [row.title for row in expected]
    assert all(f"| {row.title} |" in done.stdout for row in expected)
    assert set(facts["versions"]) == {*OURS, *RIVALS}
    ours = [job["runs"]["without numba"] for row in facts["rows"] for job in row["jobs"]]
    assert all(run["seconds"] or run.get("peak") for run in ours)
    assert not any(run.get("over_budget") for run in ours)
    assert time.monotonic() - began < 120
