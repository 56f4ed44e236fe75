"""`bitwright solve`: the contract of its answers, its exit status and its errors; HAWQ-V3's bits."""

from __future__ import annotations

import json
import re
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from bitwright import plugins
from bitwright.problems.formats import read_problem
from bitwright.problems.protocols import Proposal, SolverTraits

from .problems import RESNET18, choice, configurations, document, refused, run, write

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
    why = f"budget 'size_bytes' = 15 cannot be met: the least that any configuration takes is {least}, {least - 15} more"  # fmt: skip
    assert out == f"infeasible: no configuration meets every budget\n{why}\n"
    answer = solved(capsys, file, "--budget", "size_bytes=15", "--solver", solver)
    assert answer["exit"] == 3
    assert answer["explanation"] == why
    empty = ("loss", "lower_bound", "gap", "relative_gap", "bits")
    assert [answer[key] for key in empty] == [None] * len(empty)
    assert run(capsys, "solve", file, "--budget", "size_bytes=15", "--quiet") == (3, out, "")


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
    """A solver that ends without an answer is exit 4, not infeasible: an outsider's and `ilp`."""
    point = EntryPoint("silent", f"{__name__}:Silent", "bitwright.solvers")
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [point] if group == point.group else []
    )
    monkeypatch.setattr(EntryPoint, "load", lambda self: Silent)
    answer = solved(capsys, write(tmp_path), "--solver", "silent")
    assert (answer["exit"], answer["status"], answer["bits"]) == (4, "stopped", None)
    status, out, err = run(capsys, "solve", write(tmp_path), "--solver", "silent")
    assert (status, err) == (4, "")
    assert out == "stopped: stopped before any feasible configuration was found\nit was lazy\n"


def test_effort_stops_the_integer_program(capsys):
    """A millionth of a second is too short for an answer: exit 4."""
    assert solved(capsys, RESNET18, "--solver", "ilp", "--seconds", "1e-6")["exit"] == 4


def test_tables_for_people(capsys, tmp_path):
    """Without --json: a row per layer, totals, budgets and the certificate, on stdout alone."""
    status, out, err = run(capsys, "solve", write(tmp_path), "--budget", "size_bytes=26")
    assert (status, err) == (0, "")
    assert re.search(r"^conv2 +w\da8 ", out, re.MULTILINE)
    assert re.search(r"^total .* 26 +0\.\d+$", out, re.MULTILINE)
    assert re.search(r"^size_bytes +26 +26 +0$", out, re.MULTILINE)
    assert re.search(
        r"^optimal: loss \S+, lower bound \S+, gap 0 \(solver exact, ", out, re.MULTILINE
    )


def tampered(**costs) -> list:
    layers = document()["layers"]
    layers[1]["choices"][2]["costs"] |= costs
    return layers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ties": [{"layers": ["conv1", "haed"]}]}, "tie names unknown layer 'haed'; did you mean 'head'?"),
        ({"layers": tampered(latency_us=float("nan"))}, "NaN is not a number that JSON allows"),
        ({"layers": tampered(latency_us=-1)}, "layer 'conv2', choice w8a8: cost 'latency_us' must not be negative, got -1"),
        ({"layers": tampered(latency_ms=1)}, "layer 'conv2', choice w8a8: every choice must name the same costs"),
        ({"layers": tampered(latency_us=None)}, "layers[1].choices[2].costs.latency_us: must be a number"),
        ({"layrs": []}, "unknown key 'layrs'; did you mean 'layers'?"),
        ({"format": "bitwright-problem/2"}, "format: 'bitwright-problem/2' is unknown; did you mean 'bitwright-problem/1'?"),
        ({"budgets": {"size": 1}}, "budget for unknown cost 'size'"),
    ],
)  # fmt: skip
def test_bad_json_problems(capsys, tmp_path, changes, message):
    """Every rule that a problem breaks is one line with file, place, rule, value and nearest name."""
    line = refused(capsys, "solve", write(tmp_path, **changes))
    assert line.startswith(f"{tmp_path / 'tiny.json'}: ")
    assert message in line


CSV = "layer,weight_bits,activation_bits,loss,s\na,4,8,0.5,4\na,8,8,0.1,8\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("loss", "lss"), "column 'loss' is missing; did you mean 'lss'?"),
        (CSV.replace("activation_bits,", "").replace(",8,", ","), "column 'activation_bits' is missing"),
        (CSV.replace("activation_bits,", ""), "line 2: 4 cells expected, got 5"),
        (CSV.replace("0.1,8", "0.1,"), "line 3: "),
        (CSV.replace("0.1,8", "0.1,nan"), "line 3: "),
        (CSV.replace("0.1,8", "0.1,-8"), "cost 's' must not be negative, got -8"),
        (CSV[:-3], "line 3: 5 cells expected, got 4"),
        (CSV[:46], "line 2: 5 cells expected, got 3"),
        (CSV[:39], "the table has no rows under its column names"),
        ("", "the table is empty; its first row must name the columns"),
    ],
)  # fmt: skip
def test_bad_csv_problems(capsys, tmp_path, text, message):
    """A wrong, missing or cut-off column or cell is one line with file and line."""
    (tmp_path / "x.csv").write_text(text)
    line = refused(capsys, "solve", tmp_path / "x.csv")
    assert line.startswith(f"{tmp_path / 'x.csv'}: ")
    assert message in line


@pytest.mark.parametrize("length", [0, 10, 200, -30])
@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_truncated_files(capsys, tmp_path, suffix, length):
    """A file cut off anywhere is one line with its name."""
    write(tmp_path, fixed_costs={})
    whole = (tmp_path / "tiny.json").read_bytes()
    if suffix == "npz":
        from bitwright.problems.formats import write_problem

        write_problem(read_problem(tmp_path / "tiny.json"), tmp_path / "tiny.npz")
        whole = (tmp_path / "tiny.npz").read_bytes()
    (tmp_path / f"tiny.{suffix}").write_bytes(whole[:length])
    line = refused(capsys, "solve", tmp_path / f"tiny.{suffix}")
    assert re.search(rf"tiny\.{suffix}: not (valid JSON, line|a readable NPZ file)", line)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "size=1"], "budget for unknown cost 'size'; "),
        (["--budget", "latency=1"], "did you mean 'latency_us'?"),
        (["--budget", "size_bytes"], "a budget is written NAME=VALUE"),
        (["--budget", "size_bytes=a lot"], "must be a number, a number with a unit, or a share such as 50%, got 'a lot'"),
        (["--budget", "size_bytes=1ms"], "budget 'size_bytes' does not take the unit 'ms'"),
        (["--budget", "size_bytes=-1"], "must not be negative, got -1"),
        (["--budget", "size_bytes=1", "--budget", "size_bytes=2"], "budget 'size_bytes' is given twice"),
        (["--solver", "exakt"], "unknown solver 'exakt'; did you mean 'exact'?"),
        (["--budgt", "x"], "unknown argument '--budgt'; did you mean '--budget'?"),
        (["--solvers=ilp"], "unknown argument '--solvers'; did you mean '--solver'?"),
        (["another.json"], "unknown argument 'another.json'"),
        (["--seed", "-1"], "argument --seed: a seed is an integer of at least 0, got '-1'"),
        (["--seed", "x"], "argument --seed: a seed is an integer of at least 0, got 'x'"),
        (["--states", "0"], "effort: states must be above 0, got 0"),
        (["--seconds", "nan"], "effort: seconds must be above 0, got nan"),
        (["--seconds", "soon"], "argument --seconds: invalid float value: 'soon'"),
        (["--solver", "exact", "--budget", "size_bytes=20", "--budget", "latency_us=0.8"], "solver 'exact' takes one budget at a time"),
    ],
)  # fmt: skip
def test_bad_arguments(capsys, tmp_path, arguments, message):
    """Every bad argument is one line that names it, its rule and the nearest valid one."""
    assert message in refused(capsys, "solve", write(tmp_path), *arguments)


def test_files_that_cannot_be_read(capsys, tmp_path):
    """A missing file, a folder and an unknown ending are one line, with the nearest file."""
    write(tmp_path)
    assert "did you mean '.json'?" in refused(capsys, "solve", tmp_path / "tiny.jsn")
    assert "tny.json: no such file; did you mean 'tiny.json'?" in refused(
        capsys, "solve", tmp_path / "tny.json"
    )
    for suffix in ("json", "csv", "npz"):
        (tmp_path / f"folder.{suffix}").mkdir()
        assert re.search(
            "[Ii]s a directory", refused(capsys, "solve", tmp_path / f"folder.{suffix}")
        )
    assert "a problem file ends in one of .json, .csv, .npz" in refused(capsys, "solve", tmp_path)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_odd_layer_names(capsys, tmp_path, options):
    """Layers may bear any name that can be printed; one that cannot be encoded is one line."""
    layers = document()["layers"]
    layers[1]["name"] = "<b>$x$ 😀\n\x01"
    assert run(capsys, "solve", write(tmp_path, layers=layers), *options)[0] == 0
    layers[1]["name"] = "\ud800"
    assert "has no character '\\ud800'" in refused(
        capsys, "solve", write(tmp_path, layers=layers), *options
    )


def test_several_budgets_find_a_solver(capsys, tmp_path):
    """Without a solver's name two budgets are taken by the integer program, which finds the best."""
    budgets = {"size_bytes": 24, "latency_us": 1}
    asked = [part for name, value in budgets.items() for part in ("--budget", f"{name}={value}")]
    solution = solved(capsys, write(tmp_path), *asked)
    assert (solution["exit"], solution["solver"]) == (0, "ilp")
    within = [
        loss
        for loss, costs, _ in configurations(document())
        if all(costs[name] <= value for name, value in budgets.items())
    ]
    assert solution["loss"] == float(min(within))
