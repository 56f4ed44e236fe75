"""The processes that `benchmarks.search` compares: started, asked in turn, and ended when too slow."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from benchmarks.search_rivals import RIVALS

ROOT = Path(__file__).parents[1]
OURS = {"without numba": "0", "with numba": "1"}
"""Our two contenders and their BITWRIGHT_NUMBA."""
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_GRACE = 45.0

Answer = dict[str, Any]


class Contender:
    """One solver in a process of its own; `missing` says why where it cannot be had."""

    def __init__(self, name: str, core: int, python: str = sys.executable) -> None:
        self.name = name
        self._core, self._python = core, python
        self.versions: dict[str, str] = {}
        self.missing = ""
        self._start()

    def _start(self) -> None:
        solver = "bitwright" if self.name in OURS else self.name
        environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONPATH": str(ROOT)}
        environment["BITWRIGHT_NUMBA"] = OURS.get(self.name, "0")
        self._process = subprocess.Popen(
            [self._python, "-m", "benchmarks.search_worker", solver, str(self._core)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=ROOT, env=environment, text=True, start_new_session=True,
        )  # fmt: skip
        self._answers: queue.Queue[str] = queue.Queue()
        self._complaint = "the process ended"
        reads = (self._read_answers, self._read_complaints)
        self._readers = [threading.Thread(target=read, daemon=True) for read in reads]
        for reader in self._readers:
            reader.start()
        ready = self._next(120.0)
        if "versions" in ready:
            self.versions = ready["versions"]
        else:
            self.missing = ready["failed"]

    def _read_answers(self) -> None:
        for line in self._process.stdout or ():
            self._answers.put(line)
        self._answers.put("")

    def _read_complaints(self) -> None:
        for line in self._process.stderr or ():
            self._complaint = line.strip() or self._complaint

    def ask(self, job: dict[str, Any]) -> Answer:
        """Its answer; `failed` or `refused` say why there is none. A worker that hangs is replaced."""
        if self.missing:
            return {"failed": self.missing}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._next(2 * job["seconds"] * len(job.get("shares", [0])) + _GRACE)
        if "failed" in answer:
            self.close()
            self._start()
        return answer

    def _next(self, seconds: float) -> Answer:
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            return {"failed": f"no answer in {seconds:g} s"}
        if line:
            answer: Answer = json.loads(line)
            return answer
        self._readers[1].join()
        return {"failed": self._complaint}

    def close(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def contenders(core: int, ortools_python: str) -> dict[str, Contender]:
    """All of them, ours first; those that are not installed say so when asked."""
    pythons = {"CP-SAT": ortools_python}
    return {
        name: Contender(name, core, pythons.get(name, sys.executable)) for name in [*OURS, *RIVALS]
    }
