"""`bitwright compare`: its tables, its document, its exit status and its errors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from bitwright.problems.protocols import Proposal, SolverTraits

from .problems import RESNET18, configurations, document, install, refused, run, write


class Cheapest:
    """An outsider's solver that takes the choice of least weight bits and proves nothing."""

    name = "cheapest"
    traits = SolverTraits(several_budgets=True)

    def __init__(self, answers: bool = True):
        self.answers = answers

    def solve(self, problem, session):
        return Proposal(problem.choice_start[:-1] if self.answers else None, complete=False)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """The outsider's solver is there beside ours."""
    install(monkeypatch, cheapest=Cheapest)


BUDGET = ["--budget", "size_bytes=26"]
SOLVERS = ["--solvers", "exact,cheapest,cheapest:answers=no"]


def enumerated() -> dict[str, float]:
    """The least loss within the budget, and the loss of the cheapest bits."""
    found = list(configurations(document()))
    return {
        "best": float(min(loss for loss, costs, _ in found if costs["size_bytes"] <= 26)),
        "cheapest": next(float(loss) for loss, _, bits in found if set(bits) == {2}),
    }


def test_tables_for_people(capsys, tmp_path):
    """A row per solver with its certificate, then what each answer costs and leaves of a budget."""
    status, out, err = run(capsys, "compare", write(tmp_path), *BUDGET, *SOLVERS)
    assert (status, err) == (0, "")
    best, cheapest = enumerated()["best"], enumerated()["cheapest"]
    above = f"{cheapest - best:g}"
    assert re.search(rf"^exact +optimal +{best:g} +0 +{best:g} +0 +0 % +\S+ s$", out, re.MULTILINE)
    assert re.search(
        rf"^cheapest +feasible +{cheapest:g} +{re.escape(above)} +\S+ s$", out, re.MULTILINE
    )
    assert re.search(r"^cheapest:answers=no +stopped +\S+ s$", out, re.MULTILINE)
    assert re.search(r"^costs +size_bytes +left +latency_us$", out, re.MULTILINE)
    assert re.search(r"^budget +26$", out, re.MULTILINE)
    assert re.search(r"^cheapest +16 +10 +0\.9$", out, re.MULTILINE)
    assert out.endswith("\ntime: one run, loading the solver included; --repeat N takes a median\n")
    out = run(capsys, "compare", write(tmp_path), *BUDGET, *SOLVERS, "--repeat", "2")[1]
    assert out.endswith("\ntime: median of 2 runs of each solver after one to warm up\n")


def test_the_document(capsys, tmp_path):
    """Solutions are those of `solve --json` without bits, by the names asked for."""
    file = write(tmp_path)
    asked = [*BUDGET, "--solvers", "exact,cheapest", "--json"]
    status, out, err = run(capsys, "compare", file, *asked, "--repeat", "3")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert list(found) == [
        "format", "problem", "status", "loss", "lower_bound", "budgets", "solutions",
        "without_solution", "contradictions",
    ]  # fmt: skip
    best, cheapest = enumerated()["best"], enumerated()["cheapest"]
    assert (found["format"], found["problem"]) == ("bitwright-comparison/1", "tiny")
    assert (found["status"], found["loss"], found["lower_bound"]) == ("optimal", best, best)
    assert found["budgets"] == {"size_bytes": 26}
    for entry, above in zip(found["solutions"], (0.0, cheapest - best), strict=True):
        alone = json.loads(
            run(capsys, "solve", file, *BUDGET, "--solver", entry["solver"], "--json")[1]
        )
        assert (entry.pop("above_best"), len(entry.pop("runs"))) == (above, 3)
        assert entry.pop("seconds") > 0
        kept = {k: v for k, v in alone.items() if k not in ("format", "problem", "bits", "seconds")}
        assert entry == kept


def test_who_refuses_is_listed(capsys, tmp_path):
    """A solver that does not take the problem has a row and its reason; the others answer."""
    file = write(tmp_path, ties=[{"layers": ["conv1", "head"], "side": "weight"}])
    status, out, _ = run(capsys, "compare", file, "--solvers", "cheapest,front")
    assert status == 0
    assert re.search(r"^cheapest +refused$", out, re.MULTILINE)
    assert re.search(r"^front +optimal ", out, re.MULTILINE)
    assert "\ncheapest (refused): solver 'cheapest' takes no ties of one side" in out
    _, out, _ = run(capsys, "compare", file, "--solvers", "cheapest,front", "--json")
    (refusal,) = json.loads(out)["without_solution"]
    assert (refusal["solver"], refusal["outcome"]) == ("cheapest", "refused")
    line = refused(capsys, "compare", file, "--solvers", "cheapest")
    assert line.startswith("no solver answers this problem: solver 'cheapest' takes no ties of one")


def test_exit_status(capsys, tmp_path):
    """0 where any answered, 3 where infeasible is proved, 4 where all were stopped."""
    file = write(tmp_path)
    stopped = ["--solvers", "cheapest:answers=no"]
    status, out, _ = run(capsys, "compare", file, *stopped)
    assert (status, "costs" in out) == (4, False)
    status, out, _ = run(
        capsys, "compare", file, "--solvers", "exact,front", "--budget", "size_bytes=15"
    )
    assert status == 3
    why = "exact, front (infeasible): budget 'size_bytes' = 15 cannot be met: the least that any"
    assert why in out.replace("\n", " ")
    status, out, _ = run(capsys, "compare", file, *stopped, "--json")
    (entry,) = json.loads(out)["solutions"]
    assert (status, entry["loss"], entry["above_best"]) == (4, None, None)


def test_without_solvers_all_are_asked(capsys, tmp_path):
    """Without --solvers every installed one is there."""
    _, out, _ = run(capsys, "compare", write(tmp_path), *BUDGET, "--json")
    found = json.loads(out)
    names = {entry["solver"] for entry in [*found["solutions"], *found["without_solution"]]}
    assert {"exact", "front", "ilp", "cheapest"} <= names


@pytest.mark.parametrize("budget", ["size_bytes=26", "size_bytes=15"])
def test_plots(capsys, tmp_path, budget):
    """--plot draws answers, and that there are none, as PNG and SVG."""
    for name in ("x.png", "x.svg"):
        arguments = [write(tmp_path), "--budget", budget, *SOLVERS, "--plot", tmp_path / name]
        status, _, err = run(capsys, "compare", *arguments)
        assert (status, err) == (
            0 if "26" in budget else 3,
            f"drawn: {tmp_path / name}\n",
        )
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    ElementTree.parse(tmp_path / "x.svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--solvers", "exakt"], "unknown solver 'exakt'; did you mean 'exact'?"),
        (["--solvers", "exact,cheapest:anwers=1"], "solver 'cheapest': unknown key 'anwers'; did you mean 'answers'?"),
        (["--solvers", "exact,"], "argument --solvers: solvers are names with commas between, got 'exact,'"),
        (["--solvers", "exact,exact"], "solver 'exact' is given twice"),
        (["--solver", "exact"], "unknown argument '--solver'; did you mean '--solvers'?"),
        (["--repeat", "0"], "repeat must be 1 or more, got 0"),
        (["--repeat", "x"], "argument --repeat: invalid int value: 'x'"),
        (["--budget", "size=1"], "budget for unknown cost 'size'"),
        (["--plot", "x.gif"], "x.gif: a plot file ends in one of .png, .svg, .pdf"),
        (["--plot", "/proc/none/x.svg"], "/proc/none/x.svg: there is no folder '/proc/none'"),
    ],
)  # fmt: skip
def test_bad_arguments(capsys, tmp_path, arguments, message):
    """Every bad argument is one line that names it, its rule and the nearest valid one."""
    assert message in refused(capsys, "compare", write(tmp_path), *arguments)


def test_help_loads_nothing_heavy():
    """The help of the command loads no heavy library, and a comparison loads no torch."""
    code = (
        "import sys; from bitwright.cli import main; main({}); "
        "print('MODULES', *{{name.split('.')[0] for name in sys.modules}})"
    )
    for arguments, absent in [
        (["compare", "--help"], {"torch", "scipy", "pulp", "matplotlib", "pydantic", "networkx"}),
        (["compare", RESNET18, "--solvers", "front"], {"torch", "matplotlib", "pydantic", "pulp"}),
    ]:
        done = subprocess.run([sys.executable, "-c", code.format(arguments)], capture_output=True, text=True, check=True)  # fmt: skip
        assert not absent & set(done.stdout.rpartition("MODULES ")[2].split())
