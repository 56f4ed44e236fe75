"""`bitwright front`: its points against enumeration, its formats, its plots and its errors."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from bitwright.plots import draw_front
from bitwright.problems.protocols import Proposal, SolverTraits

from .problems import RESNET18, configurations, document, install, refused, run, write


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
    """Several costs: the whole front, ascending by the first, and called exact where it is proved."""
    answer = answered(capsys, write(tmp_path), "--cost", "size_bytes", "--cost", "latency_us")
    found = figures(answer)
    assert found == enumerated("size_bytes", "latency_us")
    assert answer["costs"] == ["size_bytes", "latency_us"]
    assert (answer["exact"], answer["epsilon"]) == (True, 0.0)


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
    """Without --json: at most a screenful of points, how many there are, and the knee."""
    status, out, err = run(capsys, "front", RESNET18, "--cost", "latency_ms")
    assert (status, err) == (0, "")
    assert len(out.splitlines()) <= 30
    points = figures(answered(capsys, RESNET18, "--cost", "latency_ms"))
    assert f"\n{len(points)} points, 25 of them shown (--csv prints all); the exact front" in out
    # The farthest below the chord, each axis in its range, found by comparing all points.
    (left, top), (right, bottom) = points[0], points[-1]
    knee = max(points, key=lambda p: 1 - (p[0] - left) / (right - left) - (p[1] - bottom) / (top - bottom))  # fmt: skip
    assert out.endswith(f": latency_ms {knee[0]}, loss {knee[1]:.6g}\n")
    budget = f"latency_ms={knee[0]}"
    again = json.loads(run(capsys, "solve", RESNET18, "--budget", budget, "--json")[1])
    assert (again["costs"]["latency_ms"], again["loss"]) == tuple(knee)


def test_bits_are_announced(capsys, tmp_path):
    """With --points the table says where the bits are to be had; a point is not called points."""
    asked = ("front", write(tmp_path), "--cost", "size_bytes", "--points")
    out = run(capsys, *asked, "3")[1]
    assert "knee" not in out  # that of three points is not that of the front
    assert "3 points; --json and --csv print their bits; " in out
    assert "1 point; " in run(capsys, *asked, "1")[1]


@pytest.mark.parametrize("points", [[], ["--points", "3"]])
@pytest.mark.parametrize("costs", [["size_bytes"], ["size_bytes", "latency_us"]])
def test_plots(capsys, tmp_path, monkeypatch, costs, points):
    """--plot draws the whole front and the bits of some points, whatever is printed on stdout."""
    drawn = []
    monkeypatch.setattr(
        "bitwright.plots.draw_front",
        lambda front, chosen: drawn.append((front, chosen)) or draw_front(front, chosen=chosen),
    )
    asked = [argument for cost in costs for argument in ("--cost", cost)]
    for name in ("x.png", "x.svg"):
        file = tmp_path / name
        status, out, err = run(
            capsys, "front", write(tmp_path), *asked, *points, "--plot", file, "--json"
        )
        assert (status, err.splitlines()[-1]) == (0, f"drawn: {file}")
        assert [len(p["costs"]) for p in json.loads(out)["points"]] == [len(costs)] * len(
            json.loads(out)["points"]
        )
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    ElementTree.parse(tmp_path / "x.svg")
    front, chosen = drawn[0]
    assert len(front) >= len(chosen) == len(chosen.configurations) > 0
    if len(costs) == 1:
        assert front.exact
        assert len(front) == len(enumerated(*costs))
        assert len(chosen) == min(len(front), 3 if points else 10)


@pytest.mark.parametrize(("most", "drawn_points"), [(3, None), (2, 2)])
def test_plots_of_many_layers(capsys, tmp_path, monkeypatch, most, drawn_points):
    """With --points and very many layers only those points are drawn: all would take too long."""
    monkeypatch.setattr("bitwright.commands.front._MOST_LAYERS", most)
    drawn = []
    monkeypatch.setattr("bitwright.plots.save", lambda figure, path: drawn.append(figure))
    asked = ["--cost", "size_bytes", "--points", "2", "--plot", tmp_path / "x.svg"]
    assert run(capsys, "front", write(tmp_path), *asked)[0] == 0
    points = drawn_points or len(enumerated("size_bytes"))
    assert drawn[0].axes[0].get_legend_handles_labels()[1][0] == f"front, {points} points"


def test_a_plot_without_matplotlib():
    """Where matplotlib is missing, one line says how to get it, before any work."""
    code = (
        "import sys; sys.modules['matplotlib'] = None; from bitwright.cli import main; "
        f"sys.exit(main(['front', {RESNET18!r}, '--cost', 'latency_ms', '--plot', 'x.svg']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "bitwright front: what was asked for needs matplotlib: pip install matplotlib\n"
    )


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
    why = "budget 'size_bytes' = 15 cannot be met: the least that any configuration takes is 16, 1 more"
    assert f"{why}, with every layer at w2a" in err
    assert run(capsys, *asked)[:2] == (3, "no points\n")


class Silent:
    """An outsider's solver that finds nothing."""

    name = "silent"
    traits = SolverTraits(several_budgets=True)

    def solve(self, problem, session):
        return Proposal(None, complete=False)


def test_stopped_is_not_infeasible(capsys, tmp_path, monkeypatch):
    """A solver that is stopped before its first point is exit 4; nothing is said to be infeasible."""
    install(monkeypatch, silent=Silent)
    asked = ("front", write(tmp_path), "--cost", "size_bytes", "--solver", "silent")
    status, out, err = run(capsys, *asked)
    assert (status, out) == (4, "no points\n")
    assert err == "stopped before any feasible configuration was found\n"


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
        (["--cost", "size_bytes", "--solver", "front:fast=1"], "solver 'front': unknown key 'fast'"),
        (["--cost", "size_bytes", "--solver", "frnt"], "unknown solver 'frnt'; did you mean 'front'?"),
        (["--cost", "size_bytes", "--budget", "size=1"], "budget for unknown cost 'size'"),
    ],
)  # fmt: skip
def test_bad_arguments(capsys, tmp_path, arguments, message):
    """Every bad argument is one line that names it, its rule and the nearest valid one."""
    assert message in refused(capsys, "front", write(tmp_path), *arguments)
