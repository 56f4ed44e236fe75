"""`bitwright front`: its points against enumeration, its formats, its plots and its errors."""

from __future__ import annotations

import csv
import io
import json
from xml.etree import ElementTree

import pytest

from .problems import RESNET18, configurations, document, refused, run, write


def enumerated(*costs: str, **limits: float) -> list[list]:
    """The non-dominated (cost..., loss) of all configurations within limits, by comparing all pairs."""
    points = {
        (*(c[name] for name in costs), loss)
        for loss, c, _ in configurations(document())
        if all(c[name] <= limit for name, limit in limits.items())
    }
    kept = [
        p
        for p in points
        if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in points)
    ]
    return sorted([float(v) for v in p] for p in kept)


def answered(capsys, *arguments: str) -> dict:
    """The document that `front --json` prints, with its exit status."""
    status, out, _ = run(capsys, "front", *arguments, "--json")
    return {"exit": status} | json.loads(out)


def figures(answer: dict) -> list[list]:
    """The points of a document as lists of costs and loss."""
    return [[*point["costs"].values(), point["loss"]] for point in answer["points"]]


@pytest.mark.parametrize("cost", ["size_bytes", "latency_us"])
def test_the_whole_front(capsys, tmp_path, cost):
    """Without --points: every non-dominated point and no other, ascending, without bits."""
    answer = answered(capsys, write(tmp_path), "--cost", cost)
    assert list(answer)[1:] == [
        "format",
        "problem",
        "costs",
        "solver",
        "exact",
        "epsilon",
        "points",
    ]
    assert figures(answer) == enumerated(cost)
    assert all(set(point) == {"costs", "loss"} for point in answer["points"])
    assert (answer["exit"], answer["format"], answer["exact"], answer["epsilon"]) == (
        0,
        "bitwright-front/1",
        True,
        0.0,
    )


def test_the_front_within_a_budget(capsys, tmp_path):
    """A budget cuts the front off."""
    answer = answered(capsys, write(tmp_path), "--cost", "size_bytes", "--budget", "size_bytes=25")
    assert figures(answer) == enumerated("size_bytes", size_bytes=25)


@pytest.mark.parametrize("points", [1, 2, 3, 99])
def test_some_points_with_their_bits(capsys, tmp_path, points):
    """With --points: at most so many of the front, each with the bits that give just these figures."""
    answer = answered(capsys, write(tmp_path), "--cost", "size_bytes", "--points", str(points))
    whole, found = enumerated("size_bytes"), figures(answer)
    assert 1 <= len(found) <= points
    assert all(point in whole for point in found)
    assert answer["exact"] is (found == whole)
    if points > 1:
        assert [whole[0], whole[-1]] == [found[0], found[-1]]
    bits_of = {tuple(bits): (loss, costs) for loss, costs, bits in configurations(document())}
    for point in answer["points"]:
        loss, costs = bits_of[tuple(b["weight_bits"] for b in point["bits"].values())]
        assert (point["loss"], point["costs"]) == (loss, {"size_bytes": costs["size_bytes"]})


def test_epsilon_holds_for_what_was_left_out(capsys, tmp_path):
    """Every point of the true front is matched within the epsilon that the answer states."""
    whole = enumerated("size_bytes")
    answer = answered(capsys, write(tmp_path), "--cost", "size_bytes", "--points", "2")
    allowed = answer["epsilon"] * (whole[0][1] - whole[-1][1]) + 1e-12
    for cost, loss in whole:
        assert any(c <= cost and found <= loss + allowed for c, found in figures(answer))


def test_two_costs(capsys, tmp_path):
    """Several costs: what a sweep found, ascending by the first, all on the true front, not called exact."""
    answer = answered(capsys, write(tmp_path), "--cost", "size_bytes", "--cost", "latency_us")
    found = figures(answer)
    assert found == sorted(found)
    assert [row for row in found if row in enumerated("size_bytes", "latency_us")] == found
    assert (answer["costs"], answer["exact"], answer["epsilon"]) == (
        ["size_bytes", "latency_us"],
        False,
        None,
    )


def test_csv_is_the_same_answer(capsys, tmp_path):
    """--csv prints costs and loss, and a column of bits per layer where bits are known."""
    file = write(tmp_path)
    _, out, err = run(capsys, "front", file, "--cost", "size_bytes", "--csv")
    head, *rows = csv.reader(io.StringIO(out))
    assert (head, err) == (["size_bytes", "loss"], "")
    assert [[float(v) for v in row] for row in rows] == enumerated("size_bytes")
    _, out, _ = run(capsys, "front", file, "--cost", "size_bytes", "--csv", "--points", "2")
    assert next(csv.DictReader(io.StringIO(out))) == {"size_bytes": "16", "loss": "7.5", "conv1": "w2a8", "conv2": "w2a8", "head": "w2a8"}  # fmt: skip


def test_a_table_for_people(capsys):
    """Without --json: at most a screenful of points, and how many there are."""
    status, out, err = run(capsys, "front", RESNET18, "--cost", "latency_ms")
    assert (status, err) == (0, "")
    assert len(out.splitlines()) <= 30
    assert "points, 2" in out
    assert out.endswith("of them shown; the exact front (solver front)\n")


@pytest.mark.parametrize("costs", [["size_bytes"], ["size_bytes", "latency_us"]])
def test_plots(capsys, tmp_path, costs):
    """--plot writes PNG and SVG and says so on stderr, beside the answer on stdout."""
    asked = [argument for cost in costs for argument in ("--cost", cost)]
    for name in ("x.png", "x.svg"):
        status, out, err = run(
            capsys, "front", write(tmp_path), *asked, "--plot", tmp_path / name, "--json"
        )
        assert (status, err) == (0, f"drawn: {tmp_path / name}\n")
        assert json.loads(out)["points"]
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    ElementTree.parse(tmp_path / "x.svg")


@pytest.mark.parametrize("options", [[], ["--cost", "latency_us"], ["--solver", "ilp"]])
def test_an_infeasible_budget(capsys, tmp_path, options):
    """Exit 3, an empty front, and the explanation on stderr, for every kind of front; it can be drawn."""
    asked = [
        "front",
        write(tmp_path),
        "--cost",
        "size_bytes",
        *options,
        "--budget",
        "size_bytes=15",
    ]
    status, out, err = run(capsys, *asked, "--json", "--plot", tmp_path / "x.svg")
    assert (status, json.loads(out)["points"]) == (3, [])
    assert (
        "budget 'size_bytes' = 15 cannot be met: the least that any configuration takes is 16, 1 more\n"
        in err
    )
    assert run(capsys, *asked)[:2] == (3, "no points\n")


def test_stopped_is_not_infeasible(capsys):
    """A solver that is stopped before its first point is exit 4; nothing is said to be infeasible."""
    status, _, err = run(capsys, "front", RESNET18, "--cost", "latency_ms", "--solver", "ilp", "--seconds", "1e-6", "--points", "2")  # fmt: skip
    assert status == 4
    assert "cannot be met" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --cost"),
        (["--cost", "latency"], "front against unknown cost 'latency'; did you mean 'latency_us'?"),
        (["--cost", "size_bytes", "--cost", "size_bytes"], "a front needs one or more different costs"),
        (["--cost", "size_bytes", "--points", "0"], "points must be 1 or more, got 0"),
        (["--cost", "size_bytes", "--points", "x"], "argument --points: invalid int value: 'x'"),
        (["--cost", "size_bytes", "--epsilon", "nan"], "epsilon must be from 0 to below 1, got nan"),
        (["--cost", "size_bytes", "--json", "--csv"], "--json and --csv cannot be given together"),
        (["--cost", "size_bytes", "--plot", "x.gif"], "x.gif: a plot file ends in one of .png, .svg, .pdf"),
        (["--cost", "size_bytes", "--plot", "/proc/none/x.svg"], "/proc/none/x.svg: there is no folder '/proc/none'"),
        (["--cost", "size_bytes", "--solver", "frnt"], "unknown solver 'frnt'; did you mean 'front'?"),
        (["--cost", "size_bytes", "--budget", "size=1"], "budget for unknown cost 'size'"),
    ],
)  # fmt: skip
def test_bad_arguments(capsys, tmp_path, arguments, message):
    """Every bad argument is one line that names it, its rule and the nearest valid one."""
    assert message in refused(capsys, "front", write(tmp_path), *arguments)
