"""What a change of precision between layers costs, as pairwise terms of a problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from bitwright.cost_models.tables.prediction import Prediction
from bitwright.problems.costing import Candidates, CostInteraction
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.precision import Precision
from bitwright.problems.variants import BFLOAT16, FLOAT16

_FORMATS = (FLOAT16, BFLOAT16)


def change_costs(
    network: NetworkDescription,
    candidates: Candidates,
    prediction: Prediction,
    served_by: Callable[[LayerDescription, Precision], Precision],
) -> list[CostInteraction]:
    """One term per pair of layers that a link joins and whose candidates can differ.

    `served_by` gives the precision of the row that a layer at a precision is charged by. Every link
    whose ends have rows of different activation types pays `change` and, for each of its elements,
    `change_per_element`. Where several links meet in one input, as behind a residual
    addition, or leave one output, each pays for itself: pairs cannot say that a runtime converts a
    shared tensor once, so the total is from above. Links of both directions between two layers are
    added up.
    """
    amounts: dict[tuple[str, str], Fraction] = {}
    per_change = prediction.change or Fraction(0)
    per_element = prediction.change_per_element or Fraction(0)
    for link in network.links:
        pair, turned = (link.source, link.target), (link.target, link.source)
        pair = turned if turned in amounts else pair
        paid = per_change + per_element * link.elements
        amounts[pair] = amounts.get(pair, Fraction(0)) + paid
    layers = {layer.name: layer for layer in network}
    types = {
        name: [activation_type(served_by(layers[name], p)) for p in candidates[name]]
        for pair in amounts
        for name in pair
    }
    terms = [_term(pair, types[pair[0]], types[pair[1]], paid) for pair, paid in amounts.items()]
    return [term for term in terms if any(any(row) for row in term.amounts)]


def activation_type(precision: Precision) -> tuple[int, str]:
    """What tells the inputs of two layers apart: bits, and whether they are of a float format."""
    format_ = precision.variant if precision.variant in _FORMATS else ""
    return precision.activation_bits, format_


def _term(
    pair: tuple[str, str],
    rows: Sequence[tuple[int, str]],
    columns: Sequence[tuple[int, str]],
    paid: Fraction,
) -> CostInteraction:
    none = Fraction(0)
    return CostInteraction(
        pair, tuple(tuple(none if a == b else paid for b in columns) for a in rows)
    )
