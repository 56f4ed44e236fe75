"""Compare the exact search with the integer programming solvers that others use for it.

    python -m benchmarks.search [--quick] [--json results.json] [--rows "three budgets"]

Prints a markdown table; see benchmarks/README.md for what is compared and how. OR-tools may stand in
an environment of its own (--ortools-python), with numpy beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.instances import FAMILIES, Spec
from benchmarks.search_contenders import Contender, contenders
from benchmarks.search_report import markdown
from benchmarks.search_results import Result, Runs, judge
from benchmarks.search_rows import Row, rows

_LONG = {"quick": 0.5, "full": 5.0}
"""Seconds; what takes longer is not repeated."""


def main(argv: list[str] | None = None) -> int:
    """Measure the rows asked for, print the table, write the figures."""
    options = _options(argv)
    began = time.perf_counter()
    seconds = options.seconds or (2.0 if options.quick else 60.0)
    wanted = [
        row
        for row in rows(quick=options.quick, seconds=seconds, seed=options.seed)
        if options.rows in row.title
    ]
    pool = contenders(options.core, options.ortools_python)
    try:
        idle = _warm_up(pool)
        longest = _LONG["quick" if options.quick else "full"]
        results = [_measured(row, pool, idle, longest) for row in wanted]
    finally:
        for contender in pool.values():
            contender.close()
    print(markdown(results))
    if options.json:
        facts = _facts(options, pool, results, time.perf_counter() - began)
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--quick", action="store_true", help="small problems, less than two minutes"
    )
    parser.add_argument("--rows", default="", help="only rows whose title contains this")
    parser.add_argument("--seconds", type=float, help="limit for every solve (60; quick: 2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="write all figures into this file")
    parser.add_argument("--ortools-python", default=sys.executable, help="Python that has OR-tools")
    return parser.parse_args(argv)


def _warm_up(pool: Mapping[str, Contender]) -> set[str]:
    """Let all import and compile what they need; returns those that promised numba and use none."""
    specs = [Spec(f, 10, 8, budgets=k) for f in FAMILIES[:3] for k in (1, 3)]
    specs += [Spec("network", 10, 4, linked=True)]
    job = {"work": "warm up", "instances": [s.document() for s in specs], "seconds": 60.0}
    idle = set()
    for name, contender in pool.items():
        answer = contender.ask(job)
        _tell(f"{name}: " + (contender.missing or f"ready after {answer.get('seconds', 0):.1f} s"))
        if name == "with numba" and not answer.get("numba"):
            idle.add(name)
    return idle


def _measured(row: Row, pool: Mapping[str, Contender], idle: set[str], longest: float) -> Result:
    """Ask the contenders in turn, the order turning too; what takes long is not repeated."""
    result = Result(row, [])
    for k, job in enumerate(row.jobs):
        runs = {name: Runs() for name in row.names}
        result.runs.append(runs)
        for repeat in range(row.repeats):
            turned = [*row.names[repeat % len(runs) :], *row.names[: repeat % len(runs)]]
            for name in turned:
                if name in idle:
                    runs[name].facts["idle"] = True
                elif repeat == 0 or max(runs[name].seconds, default=longest) < longest:
                    rival = name in row.rivals
                    theirs = row.theirs[k] if rival and row.theirs else job
                    _ask(pool[name], theirs, runs[name], row.times if rival else 1.0)
        _tell(f"{row.title}: {k + 1} of {len(row.jobs)}")
    return result


def _ask(contender: Contender, job: dict[str, Any], runs: Runs, times: float) -> None:
    answer = contender.ask(job)
    if "seconds" in answer:
        runs.seconds.append(answer["seconds"] * times)
    if not runs.facts:
        runs.facts = judge(answer, job["instance"])


def _facts(
    options: argparse.Namespace,
    pool: Mapping[str, Contender],
    results: list[Result],
    seconds: float,
) -> dict[str, Any]:
    """Everything measured, with what it was measured on."""
    return {
        "format": "bitwright-search-benchmark/1",
        "date": time.strftime("%Y-%m-%d"),
        "options": {"quick": options.quick, "seed": options.seed, "seconds": options.seconds},
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "threads": 1,
            "system": platform.platform(),
        },
        "python": platform.python_version(),
        "versions": {n: c.versions or c.missing for n, c in pool.items()},
        "seconds": seconds,
        "rows": [
            {
                "title": r.row.title,
                "to_reach": r.row.target,
                "jobs": [
                    {"job": job, "runs": {n: run.document() for n, run in runs.items()}}
                    for job, runs in zip(r.row.jobs, r.runs, strict=True)
                ],
            }
            for r in results
        ],
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
