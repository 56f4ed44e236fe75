"""Analytical clipping (ACIQ; Banner et al. 2018, arXiv 1810.05723): the clip of least expected error.

For values spread by a Laplace or normal distribution about their mean, clipped at c times their
spread and rounded to 2^b levels, the expected squared error is that of clipping plus a twelfth of the
squared step, c^2 / (3 * 4^b).
"""

from __future__ import annotations

import math
from functools import cache


@cache
def laplace_clip(bits: int) -> float:
    """The clip c in units of beta = E|x - mean|.

    It minimises 2 exp(-c) + c^2 / (3 * 4^bits), the derivative of which vanishes where c exp(c) = 3 * 4^bits, which is Lambert's function.
    """
    from scipy.special import lambertw

    return float(lambertw(3 * 4.0**bits).real)


@cache
def gauss_clip(bits: int) -> float:
    """The clip c in standard deviations.

    It minimises 2 ((c^2 + 1) (1 - Phi(c)) - c phi(c)) + c^2 / (3 * 4^bits).
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    def slope(c: float) -> float:
        density = math.exp(-c * c / 2) / math.sqrt(2 * math.pi)
        return 4 * (c * float(ndtr(-c)) - density) + 2 * c / (3 * 4.0**bits)

    return float(brentq(slope, 0.0, 20.0, xtol=1e-12))
