"""Solve the public multi-budget instances [KLMA2002]_ [HH2013]_ and compare with the best known values.

    python -m benchmarks.mmkp [--folder FOLDER] [--seconds 60] [--solver exact] [--only I0] [--json FILE]

The instances ask for the largest profit under several capacities: here a loss is a negative profit
and a capacity a budget. `--folder` holds `khan/`, `hiremath_hill/` and `best_known.json`; without it,
the folder `mmkp` in the environment variable BITWRIGHT_DATA. Nothing of it comes with the project.

.. [KLMA2002] Khan, Li, Manning, Akbar: Solving the knapsack problem for adaptive multimedia systems.
   Studia Informatica Universalis 2(1), 2002.
.. [HH2013] Hiremath, Hill: First-level tabu search approach for solving the multiple-choice
   multidimensional knapsack problem. International Journal of Metaheuristics 2(2), 2013.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright import plugins
from bitwright.problems.errors import InputError
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Effort, Solver
from bitwright.problems.solution import Solution
from bitwright.search.door import solve

_WIDTHS = 32
_SAME = 1e-6


@dataclass(frozen=True)
class Instance:
    """A problem, the set that it belongs to, and the best profit known of it, if any.

    `best_known` is proved to be the most where `proved` says so.
    """

    name: str
    problem: AllocationProblem
    best_known: float | None = None
    proved: bool = False


def read_khan(path: Path) -> AllocationProblem:
    """Read `n l m`, m capacities, then of each group its number and l lines `value r_1 .. r_m`.

    What some solvers found may follow in words. In some copies a minus sign separates capacities.
    """
    numbers = _Numbers(path)
    problem = _problem(path.name, numbers)
    if numbers.left():
        raise InputError(f"{path}: {numbers.left()} numbers too many")
    return problem


def read_hiremath_hill(path: Path) -> Iterator[AllocationProblem]:
    """Read several problems, each with its number before what `read_khan` reads."""
    numbers = _Numbers(path)
    while numbers.left():
        number = numbers.integer()
        yield _problem(f"{path.stem} #{number}", numbers)


class _Numbers:
    """The numbers of a text file up to the first word, one after the other."""

    def __init__(self, path: Path) -> None:
        tokens = path.read_text(encoding="ascii").split()
        words = (k for k, token in enumerate(tokens) if token.isalpha())
        self._path, self._place = path, 0
        try:
            self._values = np.array(tokens[: next(words, None)], dtype=np.float64)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None

    def left(self) -> int:
        return len(self._values) - self._place

    def next(self, count: int) -> NDArray[np.float64]:
        if count > self.left():
            raise InputError(f"{self._path}: {count} more numbers expected, {self.left()} are left")
        self._place += count
        return self._values[self._place - count : self._place]

    def integer(self) -> int:
        number = float(self.next(1)[0])
        if not number.is_integer():
            raise InputError(f"{self._path}: expected an integer, got {number:g}")
        return int(number)


def _problem(name: str, numbers: _Numbers) -> AllocationProblem:
    groups, options, resources = (numbers.integer() for _ in range(3))
    capacities = np.abs(numbers.next(resources))
    table = []
    for group in range(groups):
        if numbers.integer() != group + 1:
            raise InputError(f"{name}: group {group + 1} does not begin with its number")
        table.append(numbers.next(options * (1 + resources)).reshape(options, 1 + resources))
    lines = np.concatenate(table)
    names = [f"r{k}" for k in range(resources)]
    return AllocationProblem(
        name=name,
        layers=tuple(f"group{g + 1}" for g in range(groups)),
        choice_start=np.arange(groups + 1) * options,
        weight_bits=np.tile(np.arange(options) % _WIDTHS + 1, groups),
        activation_bits=np.tile(np.arange(options) // _WIDTHS + 1, groups),
        loss=-lines[:, 0],
        costs={n: lines[:, 1 + k] for k, n in enumerate(names)},
        budgets=dict(zip(names, capacities.tolist(), strict=True)),
    )


def instances(folder: Path) -> Iterator[Instance]:
    """All instances of the folder with their best known values; Khan's first, the others by size."""
    known = json.loads((folder / "best_known.json").read_text(encoding="utf-8"))
    for path in sorted((folder / "khan").iterdir()):
        facts = known["khan"].get(path.name, {})
        keys = ("published", "best_known_in_sources", "weaker_published")
        best = next((facts[key] for key in keys if facts.get(key) is not None), None)
        yield Instance(path.name, read_khan(path), best, proved="published" in facts)
    for path in sorted((folder / "hiremath_hill").glob("*.txt")):
        values = known["hiremath_hill"].get(path.name, {})
        for problem in read_hiremath_hill(path):
            number = problem.name.rpartition("#")[2]
            best = values.get(number, {}).get("optimum")
            yield Instance(problem.name, problem, best, proved=best is not None)


def measure(instance: Instance, solver: Solver, seconds: float) -> dict[str, Any]:
    """Solve one instance, check the answer by itself, and set it beside the best known value."""
    began = time.perf_counter()
    solution = solve(instance.problem, solver, effort=Effort(seconds=seconds))
    took = time.perf_counter() - began
    profit = _checked_profit(instance.problem, solution)
    best = instance.best_known
    return {
        "instance": instance.name,
        "status": str(solution.status),
        "profit": profit,
        "most": -solution.lower_bound,
        "gap": None if profit is None else solution.relative_gap,
        "best_known": best,
        "best_known_proved": instance.proved,
        "short_of_best_known": None if best is None or profit is None else best - profit,
        "seconds": took,
    }


def _checked_profit(problem: AllocationProblem, solution: Solution) -> float | None:
    """The profit, added up here from the table; None without an answer."""
    if solution.configuration is None:
        return None
    selection = problem.selection(solution.configuration)
    for name, capacity in problem.budgets.items():
        column = problem.costs[name]
        used = sum(column.value(int(j)) for j in selection)
        if used > capacity:
            raise AssertionError(f"{problem.name}: {name} is {used}, above {capacity}")
    return float(-problem.loss[selection].sum())


def summary(facts: list[dict[str, Any]]) -> str:
    """How often the best known value was reached, beaten, and proved to be the most."""
    known = [f for f in facts if f["short_of_best_known"] is not None]
    reached = sum(f["short_of_best_known"] <= _SAME * abs(f["best_known"]) for f in known)
    beaten = [f for f in known if f["short_of_best_known"] < -_SAME * abs(f["best_known"])]
    doubted = [f["instance"] for f in beaten if f["best_known_proved"]]
    gaps = sorted(f["gap"] for f in facts if f["gap"] is not None)
    lines = [
        f"{len(facts)} instances: {sum(f['status'] == 'optimal' for f in facts)} proved, "
        f"{reached} of {len(known)} best known values reached or beaten, {len(beaten)} beaten",
        f"relative gap: median {gaps[len(gaps) // 2]:.2e}, largest {gaps[-1]:.2e}" if gaps else "",
        f"beaten though said to be proved: {', '.join(doubted)}" if doubted else "",
    ]
    return "\n".join(line for line in lines if line)


def main(argv: list[str] | None = None) -> int:
    """Solve all instances, print a line for each and a summary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, help="default: mmkp in $BITWRIGHT_DATA")
    parser.add_argument("--seconds", type=float, default=60.0, help="limit for every instance")
    parser.add_argument("--solver", default="exact")
    parser.add_argument("--only", default="", help="only instances whose name contains this")
    parser.add_argument("--json", type=Path, help="write all figures into this file")
    options = parser.parse_args(argv)
    folder = options.folder or Path(os.environ.get("BITWRIGHT_DATA", "")) / "mmkp"
    if not (folder / "best_known.json").is_file():
        parser.error(f"{folder} has no best_known.json; give --folder or set BITWRIGHT_DATA")
    solver = plugins.create("solvers", options.solver)
    facts = []
    print("| instance | profit | at most | gap | best known | status | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for instance in instances(folder):
        if options.only in instance.name:
            facts.append(measure(instance, solver, options.seconds))
            print(_line(facts[-1]), flush=True)
    print("\n" + summary(facts))
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


def _line(fact: dict[str, Any]) -> str:
    profit = "none" if fact["profit"] is None else f"{fact['profit']:,.10g}"
    gap = "" if fact["gap"] is None else f"{fact['gap']:.1e}"
    best = "unknown" if fact["best_known"] is None else f"{fact['best_known']:,.10g}"
    best += " (proved)" if fact["best_known_proved"] else ""
    cells = [fact["instance"], profit, f"{fact['most']:,.10g}", gap, best, fact["status"]]
    return "| " + " | ".join([*cells, f"{fact['seconds']:.2f}"]) + " |"


if __name__ == "__main__":
    sys.exit(main())
