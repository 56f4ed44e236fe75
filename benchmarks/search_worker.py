"""A process that solves benchmark problems for `benchmarks.search`: one job per line, one answer per line.

    python -m benchmarks.search_worker CONTENDER CORE < jobs > answers

Each contender has a process of its own: `bitwright` with or without numba by the environment
variable BITWRIGHT_NUMBA, and each rival, for OR-tools and scipy do not live together. The process
and its children stay on one core.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import tracemalloc
from functools import lru_cache
from importlib import import_module, metadata
from typing import Any, TextIO

import numpy as np

from benchmarks.instances import COSTS, Spec, problem_of
from benchmarks.search_rivals import NEEDS, RIVALS, Found
from bitwright.problems.errors import UnsupportedProblemError
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Effort
from bitwright.problems.solution import Solution

OURS = "bitwright"
_UNLIMITED = 1e5

Answer = dict[str, Any]


def main() -> None:
    """Answer every job until the input ends; what solvers print goes to stderr."""
    contender, core = sys.argv[1], int(sys.argv[2])
    os.sched_setaffinity(0, {core})
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    solve = _ours if contender == OURS else RIVALS[contender]
    _say(answers, {"ready": True, "versions": _versions(contender)})
    for line in sys.stdin:
        job = json.loads(line)
        try:
            _say(answers, _WORK[job["work"]](solve, job))
        except UnsupportedProblemError as error:
            _say(answers, {"refused": str(error)})


def _say(answers: TextIO, answer: Answer) -> None:
    answers.write(json.dumps(answer, allow_nan=True) + "\n")


def _versions(contender: str) -> dict[str, str]:
    names = ("bitwright", "numpy", "numba") if contender == OURS else (NEEDS[contender], "numpy")
    if contender != OURS:
        import_module(NEEDS[contender])  # its start-up is not part of any time
    found = {}
    for name in (*names, "pulp"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _ours(problem: AllocationProblem, seconds: float) -> Solution:
    """The exact solver, through the door."""
    from bitwright.search.door import solve
    from bitwright.search.exact import ExactSolver

    return solve(problem, ExactSolver(), effort=_effort(seconds))


def _effort(seconds: float) -> Effort:
    return Effort() if seconds >= _UNLIMITED else Effort(seconds=seconds)


@lru_cache(maxsize=2)
def _problem(document: str) -> AllocationProblem:
    return problem_of(Spec(**json.loads(document)))


def _instance(job: dict[str, Any]) -> AllocationProblem:
    return _problem(json.dumps(job["instance"], sort_keys=True))


def _solve(solve: Any, job: dict[str, Any]) -> Answer:
    """One problem, from its arrays to an answer."""
    problem = _instance(job)
    began = time.perf_counter()
    found = solve(problem, job["seconds"])
    return {"seconds": time.perf_counter() - began, **_told(problem, found)}


def _told(problem: AllocationProblem, found: Solution | Found) -> Answer:
    if isinstance(found, Solution):
        proved, configuration = found.status == "optimal", found.configuration
        selection = None if configuration is None else problem.selection(configuration)
        found = Found(selection, found.lower_bound, proved)
    selection = None if found.selection is None else found.selection.tolist()
    return {"selection": selection, "bound": float(found.bound), "proved": bool(found.proved)}


def _sweep(solve: Any, job: dict[str, Any]) -> Answer:
    """The problem under budgets at these shares of its range, one after the other."""
    problem, cost = _instance(job), COSTS[0]
    units = problem.costs[cost].units
    low, high = (
        int(end.reduceat(units, problem.choice_start[:-1]).sum())
        for end in (np.minimum, np.maximum)
    )
    budgets = [low + int((high - low) * share) for share in job["shares"]]
    began = time.perf_counter()
    found = [solve(problem.with_budgets({cost: b}), job["seconds"]) for b in budgets]
    seconds = time.perf_counter() - began
    told = [{"budget": b, **_told(problem, f)} for b, f in zip(budgets, found, strict=True)]
    return {"seconds": seconds, "answers": told}


def _front(_: Any, job: dict[str, Any]) -> Answer:
    """The whole front of loss against the first cost."""
    from bitwright.search.door import front
    from bitwright.search.front import FrontSolver

    problem = _instance(job).with_budgets({})
    began = time.perf_counter()
    found = front(problem, COSTS[:1], FrontSolver(), effort=_effort(job["seconds"]))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "points": len(found), "exact": found.exact}


def _memory(solve: Any, job: dict[str, Any]) -> Answer:
    """The most that a solve takes beside the problem: as Python and numpy count it, and as the system does."""
    problem = _instance(job)
    work = _front if job.get("front") else _solve
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    answer = work(solve, job)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) * 1024
    answer.pop("selection", None)
    return {**answer, "peak": peak, "resident": grown, "choices": len(problem.loss)}


def _warm_up(solve: Any, job: dict[str, Any]) -> Answer:
    """The first use of everything: imports, and numba's compilation or its cache."""
    began = time.perf_counter()
    for spec in job["instances"]:
        solve(problem_of(Spec(**spec)), 2.0)
    if solve is _ours:
        _front(solve, {"instance": job["instances"][0], "seconds": 2.0})
    return {"seconds": time.perf_counter() - began, "numba": "numba" in sys.modules}


_WORK = {
    "solve": _solve,
    "sweep": _sweep,
    "front": _front,
    "memory": _memory,
    "warm up": _warm_up,
}

if __name__ == "__main__":
    main()
