"""Our solvers, as the registry knows them, and variants of them."""

from importlib.util import find_spec

import pytest

from bitwright import plugins
from bitwright.search.ilp import IlpSolver

REGISTERED = tuple(
    name
    for name, points in plugins.known("solvers").items()
    if all(point.module.startswith("bitwright.") for point in points)
)
ALL = (*REGISTERED, "ilp-highs")
PROVERS = ("exact", "front")
"""Those that prove their answers to the last bit; others of trait `exact` leave a gap at times."""


def made(name):
    """The solver of that name, `ilp-highs` being the integer program in HiGHS; skips where it is not installed."""
    if name != "ilp-highs":
        return plugins.create("solvers", name)
    if find_spec("highspy") is None:
        pytest.skip("highspy is not installed")
    return IlpSolver(pulp_solver="HiGHS")
