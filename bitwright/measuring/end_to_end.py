"""From times of layers to the time of a network: what whole networks, measured, add to the sum.

    end to end = overhead + rest + sum over layers of factor(precision) x time
                 + sum over links whose ends differ in the type of their activations of
                   (change + change per element x elements)

The unknowns are fitted to measured networks by non-negative least squares of the relative errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitwright.cost_models.tables.changes import activation_type
from bitwright.problems.errors import InputError
from bitwright.problems.network import Link
from bitwright.problems.precision import Precision

Times = Mapping[str, Mapping[Precision, float]]
Bits = Mapping[str, Precision]

LEAST_FACTOR = 0.1
"""No fit makes the layers of a precision cost less than this share of their sum."""

_FIGURES = ".6g"


@dataclass(frozen=True)
class Terms:
    """What the formula adds up for one configuration.

    `sums` of the layers' microseconds by precision, number of links that change precision, and the
    elements that go over them.
    """

    sums: Mapping[Precision, float]
    changes: int
    elements: int


def terms_of(configuration: Bits, times: Times, links: Iterable[Link]) -> Terms:
    """Add up a configuration; a layer of which nothing was measured counts nowhere.

    Raises `InputError` where a layer was measured, but not at its precision.
    """
    sums: dict[Precision, float] = {}
    for layer, precision in configuration.items():
        if layer in times:
            if precision not in times[layer]:
                known = ", ".join(map(str, sorted(times[layer])))
                raise InputError(f"layer {layer!r} was not measured at {precision}, but at {known}")
            sums[precision] = sums.get(precision, 0.0) + times[layer][precision]
    changing = [
        link
        for link in links
        if activation_type(configuration[link.source])
        != activation_type(configuration[link.target])
    ]
    return Terms(sums, len(changing), sum(link.elements for link in changing))


@dataclass(frozen=True)
class EndToEnd:
    """The fitted figures: microseconds, factors without unit."""

    overhead_us: float
    rest_us: float = 0.0
    factors: Mapping[Precision, float] = field(default_factory=dict)
    change_us: float = 0.0
    change_us_per_element: float = 0.0

    def predict(self, terms: Terms) -> float:
        """Microseconds of one run of a whole network."""
        layers = sum(self.factors.get(p, 1.0) * us for p, us in terms.sums.items())
        changes = self.change_us * terms.changes + self.change_us_per_element * terms.elements
        return self.overhead_us + self.rest_us + layers + changes

    @cached_property
    def header(self) -> dict[str, str]:
        """The figures as the lines on top of a cost table say them."""
        factors = {
            f"factor_us_{p.label}": f"{value:{_FIGURES}}" for p, value in self.factors.items()
        }
        return {
            "rest_us": f"{self.rest_us:{_FIGURES}}",
            **factors,
            "change_us": f"{self.change_us:{_FIGURES}}",
            "change_us_per_element": f"{self.change_us_per_element:{_FIGURES}}",
        }


def fit(measured: Sequence[tuple[Terms, float]], overhead_us: float) -> EndToEnd:
    """Fit the formula to measured networks, terms and microseconds of each.

    Raises `InputError` for fewer networks than unknowns.
    """
    from scipy.optimize import nnls

    precisions = sorted({p for terms, _ in measured for p in terms.sums})
    unknowns = len(precisions) + 3
    if len(measured) < unknowns:
        raise InputError(
            f"{unknowns} figures are fitted to end-to-end times; they need as many networks, got "
            f"{len(measured)}"
        )
    rows = np.array([_row(terms, precisions) for terms, _ in measured])
    target = np.array([us for _, us in measured])
    least = np.array([0.0, 0.0, 0.0, *[LEAST_FACTOR] * len(precisions)])
    # Columns of one size: microseconds of layers and millions of elements fit together.
    scale = np.maximum(np.abs(rows).max(axis=0), 1e-300)
    weights = 1.0 / target
    above: NDArray[np.float64] = nnls(
        rows / scale * weights[:, None], (target - overhead_us - rows @ least) * weights
    )[0]
    # Rounded as the head of a table gives them, so that its reader predicts the same.
    figures = (float(f"{figure:{_FIGURES}}") for figure in least + above / scale)
    rest, change, per_element, *factors = figures
    return EndToEnd(
        overhead_us, rest, dict(zip(precisions, factors, strict=True)), change, per_element
    )


def _row(terms: Terms, precisions: Sequence[Precision]) -> list[float]:
    sums = [terms.sums.get(p, 0.0) for p in precisions]
    return [1.0, float(terms.changes), float(terms.elements), *sums]


def relative_errors(pairs: Iterable[tuple[float, float]]) -> list[float]:
    """How far predicted times are from measured ones, as shares of these."""
    return [abs(predicted - measured) / measured for predicted, measured in pairs]
