"""`bitwright solve` and bad input: each is one line that names file, place, rule, value and nearest name."""

from __future__ import annotations

import re

import pytest

from bitwright.problems.formats import read_problem

from .problems import document, refused, write


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
