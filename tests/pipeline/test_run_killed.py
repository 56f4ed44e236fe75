"""A run that is killed again and again ends with the same bytes as one that never was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from .tiny_run import PICTURES, RESULTS, digests, settings

KILLS = 8


def start(file: Path, runs: Path) -> subprocess.Popen[str]:
    """`bitwright run` in a process of its own, on one thread."""
    command = [sys.executable, "-m", "bitwright", "run", str(file), "--runs", str(runs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_the_same(tmp_path):
    """SIGKILL at random moments of the work, restarts until done: every result is byte-identical."""
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(settings()))
    whole = start(file, tmp_path / "whole")
    assert whole.stderr is not None
    whole.stderr.readline()  # the work begins
    began = time.monotonic()
    _, errors = whole.communicate()
    assert whole.returncode == 0, errors
    seconds = time.monotonic() - began

    random_moment, killed = random.Random(0), 0
    while True:
        process = start(file, tmp_path / "killed")
        assert process.stderr is not None
        process.stderr.readline()
        if killed < KILLS:
            time.sleep(random_moment.uniform(0, 0.25 * seconds))
            process.kill()
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        killed += 1
    assert killed == KILLS
    names = RESULTS + PICTURES
    assert digests(tmp_path / "killed/tiny", names) == digests(tmp_path / "whole/tiny", names)
