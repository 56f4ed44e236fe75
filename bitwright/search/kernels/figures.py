"""The compiled twins that add up the figures of many selections."""

# The numpy twins have the docstrings and the types; numba infers the types, and takes no keywords.
# ruff: noqa: D103
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from bitwright.search.kernels.compiling import compiled


@compiled
def compensated(choices, loss):
    layers, points = choices.shape
    total, rest = np.zeros(points), np.zeros(points)
    for layer in range(layers):
        for p in range(points):
            more = loss[choices[layer, p]]
            after = total[p] + more
            taken = after - total[p]
            rest[p] += (total[p] - (after - taken)) + (more - taken)
            total[p] = after
    return total, rest


@compiled
def added(choices, units):
    layers, points = choices.shape
    total = np.zeros(points, units.dtype)
    for layer in range(layers):
        for p in range(points):
            total[p] += units[choices[layer, p]]
    return total
