"""Our solvers keep the contract that plug-ins are tested with."""

import pytest

from bitwright.problems.solution import Status
from bitwright.search.door import solve
from bitwright.testing.known_cases import KNOWN_CASES
from bitwright.testing.solver_contract import SolverContract
from tests.search.solvers import ALL, PROVERS, REGISTERED, made


class TestOurSolvers(SolverContract):
    @pytest.fixture(params=ALL)
    def solver(self, request):
        return made(request.param)


@pytest.mark.parametrize("name", PROVERS)
@pytest.mark.parametrize("case", KNOWN_CASES, ids=lambda case: case.name)
def test_provers_prove(name, case):
    """What the exact solvers take is proved: an optimum, or that there is no answer."""
    solver = made(name)
    if not case.suits(solver.traits):
        pytest.skip(f"solver {name!r} does not take it by its traits")
    wanted = Status.INFEASIBLE if case.optimum is None else Status.OPTIMAL
    assert solve(case.problem, solver).status is wanted


def test_every_solver_is_covered():
    """The registry lists the solvers that the suites are about."""
    assert set(PROVERS) <= set(REGISTERED)
    assert "ilp" in REGISTERED
