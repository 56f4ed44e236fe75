"""Problems as a long table: one row per layer and choice."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats.json_text import decimal_text, naming
from bitwright.problems.formats.table_csv import Row, read_table
from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem, Choice, LayerChoices
from bitwright.problems.ties import Tie

_REQUIRED = ("layer", "weight_bits", "activation_bits", "loss")
_OPTIONAL = ("variant", "tie")
_OPTIONAL_IN_OTHER_WORDS = {"variant", "variants", "tie", "ties", "tied"}


def problem_from_csv(path: str | Path) -> AllocationProblem:
    """Read `layer,weight_bits,activation_bits,loss,<costs>` with optional `variant` and `tie`.

    The problem is named after the file. Rows of one layer need not stand together.
    """
    table = read_table(path)
    table.require(_REQUIRED)
    costs = [c for c in table.columns if c not in (*_REQUIRED, *_OPTIONAL)]
    for name in costs:
        if name.lower() in _OPTIONAL_IN_OTHER_WORDS or not table.rows[0].cells[name]:
            raise InputError(f"{path}: column {name!r} is no cost; {nearest(name, _OPTIONAL)}")
    if "" in costs:
        raise InputError(f"{path}: a column has no name")
    choices: dict[str, list[Choice]] = {}
    ties: dict[str, str] = {}
    for row in table.rows:
        layer = row.text("layer")
        values = {name: row.number(name) for name in costs}
        choices.setdefault(layer, []).append(
            Choice(_precision(row), float(row.number("loss")), values)
        )
        tie = row.cells.get("tie", "")
        if ties.setdefault(layer, tie) != tie:
            row.fail("tie", f"must be the same in every row of layer {layer!r} ({ties[layer]!r})")
    groups: dict[str, list[str]] = {}
    for layer, tie in ties.items():
        if tie:
            groups.setdefault(tie, []).append(layer)
    for label, group in groups.items():
        if len(group) == 1:
            raise InputError(
                f"{path}: tie {label!r} stands at layer {group[0]!r} only; a tie needs two or more"
            )
    with naming(str(path)):
        return AllocationProblem.from_layers(
            Path(path).stem,
            [LayerChoices(name, tuple(rows)) for name, rows in choices.items()],
            ties=tuple(Tie(tuple(g)) for g in groups.values()),
        )


def _precision(row: Row) -> Precision:
    weight, activation = row.integer("weight_bits"), row.integer("activation_bits")
    with naming(row.source, f"line {row.line}"):
        return Precision(weight, activation, row.cells.get("variant", ""))


def problem_to_csv(problem: AllocationProblem) -> str:
    """Write the table; raises `InputError` for what a table cannot hold."""
    lost = {
        "budgets": problem.budgets, "fixed costs": problem.fixed_costs, "interactions": problem.interactions,
        "peaks": problem.peaks, "channel ranges": problem.channels,
        "ties of one side": [t for t in problem.ties if t.side != "all"],
    }  # fmt: skip
    for what, value in lost.items():
        if value:
            raise InputError(
                f"problem {problem.name!r}: a CSV table cannot hold {what}; write JSON"
            )
    tie = {name: f"tie{k}" for k, t in enumerate(problem.ties) for name in t.layers}
    if len(tie) < sum(len(t.layers) for t in problem.ties):
        raise InputError(
            f"problem {problem.name!r}: a CSV table cannot hold ties that share a layer; write JSON"
        )
    for name in (*problem.layers, *problem.costs):
        if name != name.strip() or not name.isprintable() or not name:
            raise InputError(
                f"problem {problem.name!r}: a CSV table cannot hold the name {name!r}; write JSON"
            )
    for name in (*_REQUIRED, *_OPTIONAL):
        if name in problem.costs:
            raise InputError(
                f"problem {problem.name!r}: a CSV table cannot hold a cost named {name!r}; write JSON"
            )
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_REQUIRED, *_OPTIONAL, *problem.costs])
    for layer in problem.layers:
        for j in problem.span(layer):
            costs = (decimal_text(c.value(j)) for c in problem.costs.values())
            bits = (int(problem.weight_bits[j]), int(problem.activation_bits[j]))
            loss = repr(float(problem.loss[j]))
            writer.writerow([layer, *bits, loss, problem.variants[j], tie.get(layer, ""), *costs])
    return out.getvalue()
