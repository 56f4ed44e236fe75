"""From losses of single objects to scores: mean growth, its standard error, its reliability."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from bitwright.problems import InputError, SignificanceTable
from bitwright.significance.losses import ObjectLosses

_FEWEST_RANKED = 3


def loss_growth(
    losses: ObjectLosses, chosen: NDArray[np.bool_], *, measure: str, box_weight: float
) -> SignificanceTable:
    """Mean loss of the chosen objects with one component quantized, minus that of the float network.

        S_c(b) = mean L(only c at b) - mean L(float),    L = classification + box_weight * box

    This is eq. (2) of Khrupin & Shaptsev 2025 when the chosen objects are those of the critical
    classes; `chosen` has shape (objects,). Differences are taken object by object in float64, and
    the standard errors are those of their mean. `details["reliability"]` has, by precision, the rank
    correlation over components between two halves of the objects: alternate objects of each class.
    """
    objects = np.flatnonzero(chosen)
    objects = objects[np.argsort(losses.object_classes[objects], kind="stable")]
    if not len(objects):
        raise InputError(f"measure {measure!r}: no object of the score split was chosen")
    weights = {term: box_weight if term == "box" else 1.0 for term in losses.losses}
    plan = losses.plan
    shape = (len(plan.components), len(plan.precisions))
    scores, errors, *halves = (np.full(shape, np.nan) for _ in range(4))
    for i in range(shape[0]):
        growth = _growth(losses, i, objects, weights)
        scores[i] = growth.mean(axis=1)
        if len(objects) > 1:
            errors[i] = growth.std(axis=1, ddof=1) / math.sqrt(len(objects))
            for half, start in zip(halves, (0, 1), strict=True):
                half[i] = growth[:, start::2].mean(axis=1)
    for (component, precision), cell in plan.cells.items():
        if np.isnan(scores[cell]):
            raise InputError(f"the losses of {component} at {precision} are damaged: NaN")
    details = {
        "objects": len(objects),
        "classes": [plan.classes[k] for k in np.unique(losses.object_classes[objects])],
        "box_weight": box_weight,
        "reliability": {
            precision.label: rank_correlation(halves[0][:, j], halves[1][:, j])
            for j, precision in enumerate(plan.precisions)
        },
        "seconds": sum(losses.seconds.values()),
    }
    return SignificanceTable(measure, plan.components, plan.precisions, scores, errors, details)


def _growth(
    losses: ObjectLosses, component: int, objects: NDArray[np.int64], weights: dict[str, float]
) -> NDArray[np.float64]:
    """Growth of the loss of every object at every precision, shape (precisions, objects)."""
    growth = np.zeros((len(losses.plan.precisions), len(objects)))
    for term, weight in weights.items():
        quantized = losses.losses[term][component][:, objects].astype(np.float64)
        growth += weight * (quantized - losses.float_losses[term][objects])
    return growth


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Spearman's correlation over the places where both are known; None where it says nothing."""
    known = ~(np.isnan(first) | np.isnan(second))
    first, second = first[known], second[known]
    if len(first) < _FEWEST_RANKED or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second).statistic)
