"""Measured significance: by how much the loss grows when one layer alone takes fewer bits.

Both measures read the same stored losses: the second one to be asked never runs the network.
"""

from __future__ import annotations

import math

import numpy as np

from bitwright.problems import InputError, SignificanceTable, nearest
from bitwright.problems.protocols import ScoringContext
from bitwright.significance.growth import loss_growth
from bitwright.significance.passes import measure_losses


class SemanticSignificance:
    """Growth of the loss of the objects of critical classes, eq. (2) of Khrupin & Shaptsev 2025.

    Where the task has a box loss it counts `box_weight` times; 0 is the paper's literal form, which
    starves the box head of a detector.
    """

    name = "semantic"

    def __init__(self, *, box_weight: float = 0.5) -> None:
        self.box_weight = _checked(box_weight)

    def measure(self, context: ScoringContext) -> SignificanceTable:
        """Score every layer at every candidate precision on the critical classes."""
        classes, critical = context.task.classes, context.critical.classes
        if not critical:
            raise InputError("the semantic measure needs critical classes, and none is given")
        for name in critical:
            if name not in classes:
                raise InputError(f"unknown critical class {name!r}; {nearest(name, classes)}")
        losses = measure_losses(context)
        chosen = np.isin(losses.object_classes, [classes.index(name) for name in critical])
        if not chosen.any():
            raise InputError(
                f"the score split holds no object of the critical classes {list(critical)}"
            )
        return loss_growth(losses, chosen, measure=self.name, box_weight=self.box_weight)


class OverallSignificance:
    """Growth of the loss of all objects; where the task has a box loss it counts `box_weight` times."""

    name = "overall"

    def __init__(self, *, box_weight: float = 0.5) -> None:
        self.box_weight = _checked(box_weight)

    def measure(self, context: ScoringContext) -> SignificanceTable:
        """Score every layer at every candidate precision on all classes."""
        losses = measure_losses(context)
        everything = np.ones(len(losses.object_classes), dtype=np.bool_)
        return loss_growth(losses, everything, measure=self.name, box_weight=self.box_weight)


def _checked(box_weight: float) -> float:
    if not (math.isfinite(box_weight) and box_weight >= 0):
        raise InputError(f"box_weight must be a number from 0 up, got {box_weight}")
    return box_weight
