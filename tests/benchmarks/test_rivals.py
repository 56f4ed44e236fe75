"""The programs handed to other solvers are the problem: small ones come out as all tries tell."""

import importlib.util

import pytest

from benchmarks.instances import FAMILIES, Spec, problem_of
from benchmarks.search_rivals import NEEDS, RIVALS
from bitwright.testing.enumeration import enumerated

SPECS = [
    *(Spec(family, 6, 4, budgets=k, share=0.5) for family in FAMILIES for k in (1, 3)),
    Spec("uncorrelated", 6, 4, linked=True),
]


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_the_optimum(rival, spec):
    """The selection keeps the budgets, and it and the bound are the optimum's within tolerances."""
    if importlib.util.find_spec(NEEDS[rival]) is None:
        pytest.skip(f"{NEEDS[rival]} is not installed")
    if rival == "CP-SAT":
        pytest.skip("OR-tools and scipy do not live in one process")
    problem = problem_of(spec)
    found, least = RIVALS[rival](problem, 30.0), enumerated(problem).least_loss()
    if least is None:
        assert found.selection is None
        return
    evaluation = problem.evaluate(found.selection)
    assert evaluation.over_budget(problem.budgets) == {}
    assert found.proved
    tolerance = 1e-4 * abs(least)
    assert evaluation.loss == pytest.approx(least, abs=tolerance)
    assert found.bound == pytest.approx(least, abs=tolerance)
