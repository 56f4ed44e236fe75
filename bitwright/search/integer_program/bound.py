"""What duals prove of the form of a problem, rounding included.

Any prices of the limits and multipliers of the links give a bound, however they were found: the
least of every block under the losses that they lead to [NS2004].

.. [NS2004] Neumaier, Shcherbina: Safe bounds in linear and mixed-integer linear programming.
   Mathematical Programming 99, 2004.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.search.integer_program.form import Form

_FLOAT_ERROR = 2.0**-52


@dataclass(frozen=True, eq=False)
class Bound:
    """No configuration within budgets and ties has a loss below `value`.

    It is infinite where some block has nothing that fits, so that there is no configuration. One
    that takes a variable v has none below `value + penalty[v]`, shape (V,), and one that takes
    several none below `value`, the sum of their penalties, and the `prices` (K,) of the units that
    they leave of the limits, up to `rounding`.
    """

    value: float
    penalty: NDArray[np.float64]
    prices: NDArray[np.float64]
    rounding: float


def bound_of(
    form: Form,
    losses: tuple[NDArray[np.float64], NDArray[np.float64]],
    prices: NDArray[np.float64],
    multipliers: NDArray[np.float64],
) -> Bound:
    """The bound by prices (K,) per unit, not negative, and multipliers of the links (L,).

    `losses` are those of the variables and the sizes of what they were summed from, both (V,). Every
    limit must have room.
    """
    reduced, size = (part.copy() for part in losses)
    for limit, price in zip(form.limits, prices.tolist(), strict=True):
        priced = price * limit.units.astype(np.float64)
        reduced += priced
        size += priced
    for (some, others), multiplier in zip(form.links, multipliers.tolist(), strict=True):
        reduced[some] -= multiplier
        reduced[others] += multiplier
        size[np.concatenate([some, others])] += abs(multiplier)
    operations = 3 + len(form.limits) + _most_links(form)
    size[~form.fits] = 0.0
    starts, sizes = form.start[:-1], np.diff(form.start)
    least = np.minimum.reduceat(np.where(form.fits, reduced, np.inf), starts)
    rooms = [p * limit.room for limit, p in zip(form.limits, prices.tolist(), strict=True) if p]
    rounding = (
        operations
        * _FLOAT_ERROR
        * math.fsum([*np.maximum.reduceat(size, starts), *map(abs, rooms)])
    )
    return Bound(
        value=math.fsum([*least, *(-room for room in rooms)]) - rounding,
        penalty=np.where(form.fits, reduced - np.repeat(least, sizes), np.inf),
        prices=prices,
        rounding=2 * rounding,
    )


def _most_links(form: Form) -> int:
    """In how many links the same variable stands at most."""
    touched = [variables for link in form.links for variables in link]
    return int(np.bincount(np.concatenate(touched)).max()) if touched else 0
