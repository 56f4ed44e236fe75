"""The registry: ours and outsiders' plug-ins through the same door, broken ones contained."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from bitwright import plugins
from bitwright.problems import InputError

OUTSIDER = '''
import numpy as np
from bitwright.problems.protocols import Proposal, SolverTraits

class Cheapest:
    """Takes the cheapest choice of every layer: feasible whenever anything is."""

    name = "cheapest"
    traits = SolverTraits(several_budgets=True)

    def __init__(self, cost: str = "latency_ms"):
        self.cost = cost

    def solve(self, problem, session):
        costs = problem.costs[self.cost].floats()
        spans = [problem.span(i) for i in range(len(problem))]
        return Proposal(np.array([s[int(np.argmin(costs[s.start:s.stop]))] for s in spans]), complete=True)

class Liar(Cheapest):
    name = "liar"

    def solve(self, problem, session):
        return Proposal(problem.choice_start[1:] - 1, complete=True)
'''


@pytest.fixture
def outsider(tmp_path) -> dict[str, str]:
    """An environment in which somebody else's package with plug-ins is installed."""
    (tmp_path / "board.py").write_text(OUTSIDER, encoding="utf-8")
    without = "import sys; sys.modules['torchvision'] = None; import torchvision"
    (tmp_path / "needy.py").write_text(without, encoding="utf-8")
    info = tmp_path / "board-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: board\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(
        textwrap.dedent("""\
            [bitwright.solvers]
            cheapest = board:Cheapest
            liar = board:Liar
            absent = board.missing:Nothing
            needy = needy:Needy
            [bitwright.cost_models]
            bitops = board:Cheapest
            """),
        encoding="utf-8",
    )
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def bitwright(environment, *arguments) -> subprocess.CompletedProcess[str]:
    """Run the command line where the outsider's package is installed."""
    command = [sys.executable, "-m", "bitwright", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


PROBLEM = str(Path(__file__).parent.parent / "configs/resnet18_t4.json")


def test_an_outsiders_solver_is_found_by_name(outsider):
    """A solver of another package solves by its name, without any of our files being edited."""
    done = bitwright(outsider, "solve", PROBLEM, "--solver", "cheapest", "--json")
    assert done.returncode == 0, done.stderr
    assert '"status": "feasible"' in done.stdout


def test_what_an_outsider_claims_is_judged(outsider):
    """A solver that breaks a budget is refused by name; its answer is never printed."""
    done = bitwright(outsider, "solve", PROBLEM, "--solver", "liar", "--budget", "latency_ms=50%")
    assert done.returncode == 2
    assert not done.stdout
    assert "liar" in done.stderr
    assert "latency_ms" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_plugin_spoils_only_its_own_use(outsider):
    """A plug-in that cannot be imported is an error when used, and no hindrance otherwise."""
    broken = bitwright(outsider, "solve", PROBLEM, "--solver", "absent")
    assert broken.returncode == 2
    assert (
        "solver 'absent' of package 'board' cannot be imported: ModuleNotFoundError"
        in broken.stderr
    )
    assert bitwright(outsider, "solve", PROBLEM).returncode == 0
    assert "absent" in bitwright(outsider, "plugins").stdout


def test_a_missing_library_names_its_extra(outsider):
    """A plug-in that needs a library that is not there says which extra brings it."""
    done = bitwright(outsider, "solve", PROBLEM, "--solver", "needy")
    assert done.returncode == 2
    assert "solver 'needy' needs torchvision: pip install 'bitwright[detection]'" in done.stderr


def test_two_plugins_of_one_name_are_refused_when_used(outsider):
    """A name that two packages register is refused with both, and only when it is asked for."""
    code = "from bitwright import plugins; plugins.load('cost_models', 'bitops')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=outsider, capture_output=True, text=True, check=False
    )
    assert "registered more than once" in done.stderr
    assert "board:Cheapest" in done.stderr


def test_unknown_names_get_the_nearest():
    """An unknown name is answered with the nearest and the known ones."""
    with pytest.raises(
        InputError, match=r"unknown solver 'exakt'; did you mean 'exact'\? Known: 'exact'"
    ):
        plugins.load("solvers", "exakt")


@dataclass
class Plugin:
    """A plug-in whose options are its constructor's arguments."""

    level: int
    rate: float = 0.5
    name: str = "x"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "key 'level' is missing"),
        ({"level": 1, "rat": 2}, r"unknown key 'rat'; did you mean 'rate'\?"),
        ({"level": "much"}, r"level: input should be a valid integer.*got 'much'"),
    ],
)
def test_options_are_checked_against_the_constructor(options, message):
    """Unknown, missing and wrong options are refused with place and key."""
    with pytest.raises(InputError, match="^here: " + message):
        plugins.checked_options(Plugin, options, "here")


def test_defaults_are_filled_in():
    """Every option is there with its value or default."""
    assert plugins.checked_options(Plugin, {"level": 3}, "here") == {
        "level": 3,
        "rate": 0.5,
        "name": "x",
    }
