"""`bitwright solve`: the contract of its answers, its exit status and its errors; HAWQ-V3's bits."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from bitwright.problems.protocols import Effort, Proposal, SolverTraits

from .problems import RESNET18, choice, configurations, document, install, refused, run, write

KEYS = [
    "format", "problem", "solver", "status", "loss", "lower_bound", "gap", "relative_gap", "costs",
    "budgets", "slack", "bits", "explanation", "seconds", "seed", "version",
]  # fmt: skip

# HAWQ-V3, bit_config.py (Zhen-Dong/HAWQ at 1616df69): weight bits of the 19 decision layers of ResNet18.
PUBLISHED = {
    ("size_bits", "75%"): "8 8 8 8 8 8 8 8 8 8 8 8 8 4 8 8 8 8 4",
    ("size_bits", "50%"): "8 8 8 8 8 8 8 8 8 8 8 8 8 8 8 4 8 4 4",
    ("size_bits", "25%"): "8 8 8 8 8 8 8 8 8 8 8 8 8 8 4 4 4 4 4",
    ("bitops", "75%"): "8 8 8 8 8 8 8 8 4 8 8 8 8 4 8 4 8 8 4",
    ("bitops", "50%"): "8 8 8 4 8 8 8 8 4 8 8 8 4 4 4 4 4 4 4",
    ("bitops", "25%"): "8 8 8 4 8 4 8 4 4 4 4 4 4 4 4 4 4 4 4",
    ("latency_ms", "75%"): "8 8 8 8 8 8 8 8 4 8 8 8 8 4 8 4 8 8 4",
    ("latency_ms", "50%"): "8 8 8 8 8 4 8 8 4 8 8 8 4 4 8 4 8 4 4",
    ("latency_ms", "25%"): "8 8 8 4 8 4 8 4 4 4 4 4 4 4 4 4 4 4 4",
}


def solved(capsys, *arguments: str) -> dict:
    """The document that `solve --json` prints, with its exit status."""
    status, out, _ = run(capsys, "solve", *arguments, "--json")
    return {"exit": status} | json.loads(out)


@pytest.mark.parametrize("solver", ["exact", "ilp"])
@pytest.mark.parametrize(("cost", "share"), PUBLISHED)
def test_hawq_v3_bit_for_bit(capsys, cost, share, solver):
    """Both solvers give all nine published configurations of ResNet18 bit for bit."""
    answer = solved(capsys, RESNET18, "--budget", f"{cost}={share}", "--solver", solver)
    found = " ".join(str(bits["weight_bits"]) for bits in answer["bits"].values())
    assert found == PUBLISHED[cost, share]


def test_the_document_holds_what_the_format_says(capsys, tmp_path):
    """Keys, order and arithmetic of the JSON are those of the format."""
    answer = solved(capsys, write(tmp_path), "--budget", "size_bytes=26", "--seed", "5")
    assert list(answer)[1:] == KEYS
    loss, costs, bits = min(
        (c for c in configurations(document()) if c[1]["size_bytes"] <= 26), key=lambda c: c[0]
    )
    assert answer["loss"] == answer["lower_bound"] == loss
    assert answer["costs"] == {name: float(value) for name, value in costs.items()}
    assert answer["slack"] == {"size_bytes": 26 - costs["size_bytes"]}
    assert answer["bits"] == {
        name: {"weight_bits": b, "activation_bits": 8, "variant": ""}
        for name, b in zip(("conv1", "conv2", "head"), bits, strict=True)
    }
    assert answer["exit"] == answer["gap"] == answer["relative_gap"] == 0
    assert (answer["format"], answer["problem"], answer["solver"], answer["status"], answer["seed"]) == (
        "bitwright-solution/1", "tiny", "exact", "optimal", 5,
    )  # fmt: skip
    assert answer["budgets"] == {"size_bytes": 26}
    assert answer["explanation"] is None


@pytest.mark.parametrize("solver", ["exact", "ilp"])
@pytest.mark.parametrize("budget", [16, 17, 21, 22, 25.5, 26, 34, 99])
def test_the_least_loss_is_found(capsys, tmp_path, budget, solver):
    """At every budget the loss is the least of all configurations, found by enumeration."""
    answer = solved(capsys, write(tmp_path), "--budget", f"size_bytes={budget}", "--solver", solver)
    assert answer["loss"] == min(
        c[0] for c in configurations(document()) if c[1]["size_bytes"] <= budget
    )


def test_the_three_formats_of_a_problem_agree(capsys, tmp_path):
    """JSON, CSV and NPZ of one problem give the same bits, loss and costs."""
    plain = document(fixed_costs={})
    rows = [
        (layer["name"], c["weight_bits"], c["activation_bits"], c["loss"], *c["costs"].values())
        for layer in plain["layers"]
        for c in layer["choices"]
    ]
    head = "layer,weight_bits,activation_bits,loss,size_bytes,latency_us,tie\n"
    lines = [",".join(map(str, row)) + ("," if row[0] == "conv2" else ",t") for row in rows]
    (tmp_path / "tiny.csv").write_text("\ufeff" + head + "\n".join(lines))
    columns = dict(zip(("weight_bits", "activation_bits", "loss", "cost_size_bytes", "cost_latency_us"), zip(*(r[1:] for r in rows), strict=True), strict=True))  # fmt: skip
    np.savez(tmp_path / "tiny.npz", layer_names=["conv1", "conv2", "head"], choice_start=[0, 3, 6, 9], ties=[[0, 2]], **columns)  # fmt: skip
    write(tmp_path, fixed_costs={})
    answers = [solved(capsys, str(tmp_path / f"tiny.{s}"), "--budget", "latency_us=0.9") for s in ("json", "csv", "npz")]  # fmt: skip
    for answer in answers:
        answer.pop("seconds")
    assert answers[0]["status"] == "optimal"
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("given", "limit"),
    [("size_bytes=0.02kB", 20), ("size_bytes=0.03KiB", 30.72), ("size_bytes=2.5e1", 25), ("latency_us=0.0009ms", 0.9), ("size_bytes=50%", 25), ("size_bytes=0%", 16), ("size_bytes=100%", 34)],
)  # fmt: skip
def test_units_and_shares(capsys, tmp_path, given, limit):
    """Units are converted exactly; a share runs from the cheapest to the dearest configuration."""
    answer = solved(capsys, write(tmp_path), "--budget", given)
    assert list(answer["budgets"].values()) == [limit]


def test_budgets_of_the_file_hold_unless_named_again(capsys, tmp_path):
    """A budget on the command line replaces that of the same cost and leaves the others standing."""
    file = write(tmp_path, budgets={"size_bytes": 20, "latency_us": 5})
    assert solved(capsys, file, "--solver", "ilp")["budgets"] == {"size_bytes": 20, "latency_us": 5}
    again = solved(capsys, file, "--budget", "size_bytes=34", "--solver", "ilp")
    assert again["budgets"] == {"size_bytes": 34, "latency_us": 5}
    assert again["costs"]["size_bytes"] > 20


def test_budgets_are_judged_as_written(capsys, tmp_path):
    """Costs of 0.1, 0.2 and 0.3 meet a budget of 0.6, which floats would deny."""
    layers = [
        {"name": n, "choices": [choice(8, 0.0, 1, t)]}
        for n, t in zip("abc", (0.1, 0.2, 0.3), strict=True)
    ]
    answer = solved(capsys, write(tmp_path, layers=layers, ties=[]), "--budget", "latency_us=0.6")
    assert (answer["status"], answer["slack"]) == ("optimal", {"latency_us": 0})


@pytest.mark.parametrize("solver", ["exact", "ilp", "front"])
def test_infeasible_budgets_explain_themselves(capsys, tmp_path, solver):
    """Exit 3, and the answer names the least reachable value; nothing is claimed beyond it."""
    file = write(tmp_path)
    least = min(c[1]["size_bytes"] for c in configurations(document()))
    status, out, err = run(capsys, "solve", file, "--budget", "size_bytes=15", "--solver", solver)
    assert status == 3
    assert err == ""
    why = f"budget 'size_bytes' = 15 cannot be met: the least that any configuration takes is {least}, {least - 15} more, with every layer at w2a"  # fmt: skip
    first, *lines, certificate = out.splitlines()
    assert first == "infeasible: proved; no configuration meets every budget"
    assert " ".join(line.strip() for line in lines).startswith(why)
    assert re.fullmatch(rf"  solver +{solver}, \S+ s", certificate)
    answer = solved(capsys, file, "--budget", "size_bytes=15", "--solver", solver)
    assert answer["exit"] == 3
    assert answer["explanation"].startswith(why)
    empty = ("loss", "lower_bound", "gap", "relative_gap", "bits")
    assert [answer[key] for key in empty] == [None] * len(empty)


def test_budgets_that_contradict_each_other(capsys, tmp_path):
    """Two budgets that can each be met, but not together, are infeasible and both named."""
    # Every configuration below 22 bytes takes 0.7 us or more, by enumeration.
    assert not [
        c
        for c in configurations(document())
        if c[1]["size_bytes"] <= 21 and c[1]["latency_us"] < 0.7
    ]
    file = write(tmp_path)
    answer = solved(
        capsys, file, "--budget", "size_bytes=17", "--budget", "latency_us=0.7", "--solver", "ilp"
    )
    assert answer["exit"] == 3
    assert (
        "'size_bytes' and 'latency_us' can each be met, but not together" in answer["explanation"]
    )


class Silent:
    """An outsider's solver that finds nothing."""

    name = "silent"
    traits = SolverTraits(several_budgets=True, side_ties=True)

    def solve(self, problem, session):
        return Proposal(None, complete=False, explanation="it was lazy")


def test_stopped_without_an_answer(capsys, tmp_path, monkeypatch):
    """A solver that ends without an answer is exit 4, not infeasible."""
    install(monkeypatch, silent=Silent)
    answer = solved(capsys, write(tmp_path), "--solver", "silent")
    assert (answer["exit"], answer["status"], answer["bits"]) == (4, "stopped", None)
    status, out, err = run(capsys, "solve", write(tmp_path), "--solver", "silent")
    assert (status, err) == (4, "")
    assert out.startswith(
        "stopped: no feasible configuration was found; that there is none is not proved\n"
        "  it was lazy\n"
    )


class Picky:
    """An outsider's solver that takes one budget; its answer is the last choice of every layer."""

    name = "picky"
    traits = SolverTraits()

    def __init__(self, level: int = 1, name: str = "picky"):
        self.name = f"{name}{level}"

    def solve(self, problem, session):
        return Proposal(problem.choice_start[1:] - 1, complete=True)


class Taker(Picky):
    """One that takes several."""

    traits = SolverTraits(several_budgets=True)

    def __init__(self):
        self.name = "taker"


def test_who_answered_is_said(capsys, tmp_path, monkeypatch):
    """Where the first solver refuses, the next answers, and stderr and the answer name it."""
    install(monkeypatch, picky=Picky, taker=Taker)
    monkeypatch.setattr("bitwright.api.DEFAULT_SOLVERS", ("picky", "taker"))
    # Budgets that no configuration can break are not handed to a solver; these two can be broken.
    file = write(tmp_path)
    most = max(c[1]["latency_us"] for c in configurations(document()))
    asked = ["--budget", "size_bytes=33.9", "--budget", f"latency_us={float(most) - 0.01}"]
    monkeypatch.setattr(Taker, "solve", lambda self, p, s: Proposal(p.choice_start[:-1], True))
    status, out, err = run(capsys, "solve", file, *asked)
    assert (status, err) == (0, "solver 'picky' does not take this problem; 'taker' answered\n")
    assert re.search(r"^  solver +taker, ", out, re.MULTILINE)
    assert run(capsys, "solve", file, *asked, "--quiet")[2] == ""
    assert run(capsys, "solve", file, *asked, "--solver", "taker")[2] == ""
    refusal = refused(capsys, "solve", file, *asked, "--solver", "picky")
    assert refusal.startswith("solver 'picky1' takes one budget at a time, got ['latency_us', ")


def test_options_of_a_solver(capsys, tmp_path, monkeypatch):
    """Options behind colons reach the constructor, read as the types that it names."""
    install(monkeypatch, picky=Picky)
    file = write(tmp_path)
    assert solved(capsys, file, "--solver", "picky:level=7")["solver"] == "picky7"
    assert solved(capsys, file, "--solver", "picky:level=2:name=x=y")["solver"] == "x=y2"
    for given, message in [
        ("picky:levl=1", "solver 'picky': unknown key 'levl'; did you mean 'level'?"),
        ("picky:level=low", "solver 'picky': level: input should be a valid integer"),
        ("picky:level=1:level=2", "solver 'picky': option 'level' is given twice"),
        ("picky:level", "a solver is written NAME[:OPTION=VALUE...], such as ilp:pulp_solver=HiGHS, got 'picky:level'"),
        ("picky:", "a solver is written NAME[:OPTION=VALUE...]"),
        ("pikcy:level=1", "unknown solver 'pikcy'; did you mean 'picky'?"),
    ]:  # fmt: skip
        assert message in refused(capsys, "solve", file, "--solver", given)


def test_effort_and_seed_reach_the_solver(capsys, tmp_path, monkeypatch):
    """--seconds and --states are the effort of the session, --seed seeds its generator."""
    sessions = []

    class Recording(Silent):
        def solve(self, problem, session):
            sessions.append((session.effort, int(session.rng.integers(1 << 30))))
            return super().solve(problem, session)

    install(monkeypatch, recording=Recording)
    asked = ["solve", write(tmp_path), "--solver", "recording"]
    run(capsys, *asked, "--seconds", "0.5", "--states", "7", "--seed", "5")
    run(capsys, *asked)
    assert sessions == [
        (Effort(states=7, seconds=0.5), int(np.random.default_rng(5).integers(1 << 30))),
        (Effort(), int(np.random.default_rng(0).integers(1 << 30))),
    ]


def test_tables_for_people(capsys, tmp_path):
    """Without --json: a row per layer, totals, budgets and the certificate, on stdout alone."""
    status, out, err = run(capsys, "solve", write(tmp_path), "--budget", "size_bytes=26")
    assert (status, err) == (0, "")
    assert re.search(r"^conv2 +w\da8 ", out, re.MULTILINE)
    assert re.search(r"^total .* 26 +0\.\d+$", out, re.MULTILINE)
    assert re.search(r"^size_bytes +26 +26 +0 +100.0 %$", out, re.MULTILINE)
    loss = min(c[0] for c in configurations(document()) if c[1]["size_bytes"] <= 26)
    assert re.search(
        r"^optimal: proved; no configuration within the budgets has a lower loss\n"
        rf"  loss +{float(loss):g}\n  lower bound +{float(loss):g}\n  gap +0\n"
        r"  solver +exact, \S+ s\n\Z",
        out,
        re.MULTILINE,
    )


def test_odd_layer_names(capsys, tmp_path):
    """Text escapes what could harm a terminal; JSON refuses what cannot be encoded."""
    layers = document()["layers"]
    layers[1]["name"] = "<b>$x$ 😀\n\x1b[31m\u202e"
    file = write(tmp_path, layers=layers)
    out = run(capsys, "solve", file)[1]
    assert "\n<b>$x$ 😀\\n\\x1b[31m\\u202e  w" in out
    assert layers[1]["name"] in solved(capsys, file)["bits"]
    layers[1]["name"] = "\ud800"
    file = write(tmp_path, layers=layers)
    assert "\n\\ud800 " in run(capsys, "solve", file)[1]
    assert "has no character '\\ud800'" in refused(capsys, "solve", file, "--json")


def test_several_budgets_find_a_solver(capsys, tmp_path):
    """Without a solver's name two budgets find a solver that takes them, and it finds the best."""
    budgets = {"size_bytes": 24, "latency_us": 1}
    asked = [part for name, value in budgets.items() for part in ("--budget", f"{name}={value}")]
    solution = solved(capsys, write(tmp_path), *asked)
    assert solution["exit"] == 0
    within = [
        loss
        for loss, costs, _ in configurations(document())
        if all(costs[name] <= value for name, value in budgets.items())
    ]
    assert solution["loss"] == float(min(within))
