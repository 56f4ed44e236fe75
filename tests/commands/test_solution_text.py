"""A solution as text: what is shown of many layers, and that the rows add up to the totals."""

from __future__ import annotations

import math
import re

import pytest

from bitwright.commands import solution_text as module
from bitwright.commands.solution_text import certificate, solution_text
from bitwright.problems import (
    AllocationProblem,
    Choice,
    Interaction,
    LayerChoices,
    Peak,
    Precision,
    Solution,
    Status,
)
from bitwright.problems.exact import plain


def problem(layers: int, bits=(2, 4, 8), **terms) -> AllocationProblem:
    """Layers whose losses are dyadic, so that sums are exact."""
    return AllocationProblem.from_layers(
        "many",
        [
            LayerChoices(
                f"conv{i}",
                tuple(Choice(Precision(b, 8), (i + 1) / b, {"size": b * (i + 1)}) for b in bits),
            )
            for i in range(layers)
        ],
        **terms,
    )


def solved(asked: AllocationProblem, taken) -> Solution:
    """A solution that takes choice `taken(i)` in layer i, its figures recomputed by the problem."""
    selection = asked.choice_start[:-1] + [taken(i) for i in range(len(asked))]
    evaluation = asked.evaluate(selection)
    return Solution(
        problem=asked.name,
        solver="hand",
        status=Status.FEASIBLE,
        configuration=asked.configuration(selection),
        loss=evaluation.loss,
        lower_bound=-math.inf,
        costs={name: plain(cost) for name, cost in evaluation.costs.items()},
    )


def rows(text: str, head: str) -> dict[str, list[str]]:
    """The rows of the table with this head, by their first cell, which may hold single spaces."""
    table = next(block for block in text.split("\n\n") if block.startswith(head))
    return {line.split("  ")[0]: re.split(r"\s{2,}", line)[1:] for line in table.splitlines()[2:]}


@pytest.mark.parametrize("layers", [1, 60])
def test_few_layers_are_all_shown(layers):
    """Up to 60 layers every one has its row, and nothing is added up by precision."""
    asked = problem(layers)
    text = solution_text(asked, solved(asked, lambda i: i % 3))
    assert list(rows(text, "layer")) == [*asked.layers, "total"]
    assert "share" not in text


@pytest.mark.parametrize("every_layer", [False, True])
def test_many_layers(every_layer):
    """Above 60 layers the ends are shown or, if asked for, all; by precision all are added up."""
    asked = problem(200)
    solution = solved(asked, lambda i: i % 3)
    text = solution_text(asked, solution, every_layer=every_layer)
    shown = list(rows(text, "layer"))
    if every_layer:
        assert shown == [*asked.layers, "total"]
    else:
        ends = [*asked.layers[:20], *asked.layers[-10:]]
        assert [name for name in shown if name in asked.layers] == ends
        assert "... 170 more (--all shows them)" in shown
        assert len(text.splitlines()) < 50
    for number, bits in enumerate((2, 4, 8)):
        mine = [i for i in range(200) if i % 3 == number]
        loss, size = sum((i + 1) / bits for i in mine), sum(bits * (i + 1) for i in mine)
        share = f"{100 * len(mine) / 200:.1f} %"
        assert rows(text, "bits")[f"w{bits}a8"] == [
            str(len(mine)),
            share,
            f"{loss:.6g}",
            f"{size:,}",
        ]


@pytest.mark.parametrize("precisions", [20, 21, 22, 32])
def test_many_precisions(precisions):
    """At most 21 rows of precisions; rare ones stand together, and none is lost."""
    asked = problem(400, bits=tuple(range(1, precisions + 1)))
    # The precisions with the most bits are the rarest.
    solution = solved(asked, lambda i: min(i % 40, precisions - 1) if i < 200 else i % 7)
    table = rows(solution_text(asked, solution), "bits")
    assert len(table) == min(precisions, 21)
    assert sum(int(row[0]) for row in table.values()) == 400
    assert (f"{precisions - 20} others" in table) == (precisions > 21)
    assert math.isclose(sum(float(row[2].replace(",", "")) for row in table.values()), solution.loss, rel_tol=1e-4)  # fmt: skip


def test_the_rows_add_up_to_the_totals():
    """Fixed costs and pairwise terms have rows of their own; a peak has a total only."""
    asked = problem(
        3,
        fixed_costs={"size": 100},
        interactions=(
            Interaction(("conv0", "conv1"), ((1.0, 2.0, 4.0),) * 3, {"size": ((1, 2, 3),) * 3}),
            Interaction(("conv0", "conv2"), ((0.5, 0.25, 0.125),) * 3),
        ),
        peaks=(Peak("peak_bytes", ({"conv0": 10},)),),
    )
    solution = solved(asked, lambda i: i)
    table = rows(solution_text(asked, solution), "layer")
    assert list(table) == ["conv0", "conv1", "conv2", "fixed costs", "pairwise terms", "total"]
    assert table["fixed costs"] == ["100"]
    assert table["pairwise terms"] == [f"{2.0 + 0.125:g}", "2"]
    layers = [table[name] for name in asked.layers]
    loss = sum(float(row[1]) for row in layers) + float(table["pairwise terms"][0])
    size = sum(int(row[2]) for row in layers) + 100 + 2
    assert table["total"] == [f"{loss:.6g}", str(size), "80"]
    assert (solution.loss, solution.costs["size"]) == (pytest.approx(loss), size)


def test_a_narrow_terminal(monkeypatch):
    """Long names are shortened to what a terminal holds, and never in a file."""
    name = "backbone.features.12.block.conv1"
    asked = AllocationProblem.from_layers(
        "p", [LayerChoices(name, (Choice(Precision(8, 8), 0.5, {"size_bits": 8}),))]
    )
    assert name in solution_text(asked, solved(asked, lambda i: 0))
    monkeypatch.setattr(module, "terminal_width", lambda: 44)
    text = solution_text(asked, solved(asked, lambda i: 0))
    assert name not in text
    assert max(len(line) for line in text.split("\n\n")[0].splitlines()) <= 44


def of(status: Status, bound: float, explanation: str | None = None, loss: float = 2.0) -> str:
    """The certificate of a solution with these figures."""
    found = status in (Status.OPTIMAL, Status.FEASIBLE)
    configuration = problem(1).configuration(problem(1).choice_start[:1]) if found else None
    return certificate(
        Solution(
            problem="p", solver="hand", status=status, configuration=configuration,
            loss=loss if found else math.inf, lower_bound=bound, explanation=explanation, seconds=0.25,
        )
    )  # fmt: skip


def test_certificates():
    """Each status in words, with the figures that it has and no others."""
    assert of(Status.OPTIMAL, 2.0).splitlines() == [
        "optimal: proved; no configuration has a lower loss",
        "  loss         2", "  lower bound  2", "  gap          0", "  solver       hand, 0.25 s",
    ]  # fmt: skip
    feasible = of(Status.FEASIBLE, 1.5).splitlines()
    assert feasible[0].startswith("feasible: not proved optimal; no configuration has a loss below")
    assert feasible[2:4] == ["  lower bound  1.5", "  gap          0.5 (25 %)"]
    gaps = {1.9998: "0.01 %", 1e-9: "100 %", 1.999999999: "5e-08 %"}
    for bound, relative in gaps.items():
        assert of(Status.FEASIBLE, bound).splitlines()[3].endswith(f"({relative})")
    unbounded = of(Status.FEASIBLE, -math.inf)
    assert "not known" in unbounded
    assert "gap" not in unbounded
    stopped = of(Status.STOPPED, 1.5).splitlines()
    assert stopped[0].startswith("stopped: no feasible configuration was found; that there is none")
    assert stopped[1:] == ["  lower bound  1.5", "  solver       hand, 0.25 s"]
    reasons = of(Status.INFEASIBLE, -math.inf, "budget 'a' is " + "long " * 30 + "; and b").splitlines()  # fmt: skip
    assert reasons[0] == "infeasible: proved; no configuration meets every budget"
    assert max(map(len, reasons)) <= 100
    assert reasons[-2:] == ["  and b", "  solver       hand, 0.25 s"]
