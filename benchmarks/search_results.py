"""What the contenders' answers are worth: each recomputed exactly, and the ratios of their times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf, isfinite
from statistics import median
from typing import Any

import numpy as np

from benchmarks.instances import COSTS, Spec, problem_of
from benchmarks.search_contenders import Answer
from benchmarks.search_rows import Row
from bitwright.problems.problem import AllocationProblem

_SAME = 1e-9


@dataclass
class Runs:
    """One contender on one job: its times, and its first answer, recomputed."""

    seconds: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether its claim is that the work is done: all answers proved, or a front."""
        return bool(self.seconds) and bool(self.facts.get("proved", True))

    def document(self) -> dict[str, Any]:
        """Plain values for the JSON file."""
        return {"seconds": self.seconds, **self.facts}


@dataclass
class Result:
    """A row and the runs of every contender, by job and name."""

    row: Row
    runs: list[dict[str, Runs]]

    def ratio(self, name: str, ours: str) -> tuple[float, str] | None:
        """How many times longer `name` took than we, median over jobs.

        The sign is `>` where it gave up on some, `<` where we did, `~` where both.
        """
        pairs = [(runs.get(name), runs.get(ours)) for runs in self.runs]
        both = [(a, b) for a, b in pairs if a and b and a.seconds and b.seconds]
        if not any(b.finished for _, b in both):
            return None
        ratio = median(median(a.seconds) / median(b.seconds) for a, b in both)
        gave_up = tuple(any(not run.finished for run in side) for side in zip(*both, strict=True))
        signs = {(True, False): "> ", (False, True): "< ", (True, True): "~ "}
        return ratio, signs.get(gave_up, "")


def judge(answer: Answer, instance: dict[str, Any]) -> dict[str, Any]:
    """The facts of an answer: what it says, and what its selections come to, recomputed."""
    facts = {k: v for k, v in answer.items() if k not in ("selection", "answers", "seconds")}
    if "answers" not in answer and "selection" not in answer:
        return facts
    problem = problem_of(Spec(**instance))
    if "answers" not in answer:
        return facts | _recomputed(problem, answer)
    each = [
        _recomputed(problem.with_budgets({COSTS[0]: a["budget"]}), a) for a in answer["answers"]
    ]
    return facts | {
        "proved": all(a["proved"] for a in answer["answers"]),
        "budgets": [a["budget"] for a in answer["answers"]],
        "loss": [e["loss"] for e in each],
        "over_budget": any(e["over_budget"] for e in each),
    }


def _recomputed(problem: AllocationProblem, answer: Answer) -> dict[str, Any]:
    if answer["selection"] is None:
        return {"loss": None, "over_budget": False}
    evaluation = problem.evaluate(np.array(answer["selection"]))
    over = evaluation.over_budget(problem.budgets)
    return {"loss": evaluation.loss, "over_budget": bool(over)}


def gap(facts: dict[str, Any]) -> float:
    """The relative gap between recomputed loss and claimed bound, infinite where either is missing."""
    loss, bound = facts.get("loss"), facts.get("bound", -inf)
    if loss is None or facts.get("over_budget") or not isfinite(bound):
        return inf
    return max(float(loss) - bound, 0.0) / max(abs(loss), abs(bound), 1e-300)


@dataclass(frozen=True)
class Fault:
    """An answer that breaks a budget (`worse` infinite), or is called optimal and is not.

    `worse` is by how much another contender's loss is lower, as a share of it.
    """

    contender: str
    problem: str
    worse: float


def faults(results: Iterable[Result]) -> Iterator[Fault]:
    """The faults of all answers that are to be proved, each recomputed exactly."""
    for result in results:
        if result.row.kind != "proved":
            continue
        for job, runs in zip(result.row.jobs, result.runs, strict=True):
            best = _best_losses(runs)
            for name, run in runs.items():
                worse = _worse(run.facts, best)
                if worse > _SAME:
                    yield Fault(name, Spec(**job["instance"]).name, worse)


def _best_losses(runs: dict[str, Runs]) -> dict[Any, float]:
    """The least feasible loss found under every budget of a job."""
    best: dict[Any, float] = {}
    for run in runs.values():
        for budget, loss in _by_budget(run.facts):
            if loss is not None and not run.facts["over_budget"]:
                best[budget] = min(loss, best.get(budget, inf))
    return best


def _by_budget(facts: dict[str, Any]) -> list[tuple[Any, float | None]]:
    if "budgets" in facts:
        return list(zip(facts["budgets"], facts["loss"], strict=True))
    return [(None, facts["loss"])] if "loss" in facts else []


def _worse(facts: dict[str, Any], best: dict[Any, float]) -> float:
    """How far answers called optimal are from the best, infinite where one breaks a budget."""
    if facts.get("over_budget"):
        return inf
    if not facts.get("proved"):
        return 0.0
    shares = [
        (loss - best[budget]) / max(abs(best[budget]), 1e-300)
        for budget, loss in _by_budget(facts)
        if loss is not None and budget in best
    ]
    return max(shares, default=0.0)
