"""Our solvers keep the contract that plug-ins are tested with."""

import pytest

from bitwright.search.exact import ExactSolver
from bitwright.search.front import FrontSolver
from bitwright.search.ilp import IlpSolver
from bitwright.testing.solver_contract import SolverContract


class TestExactSolver(SolverContract):
    @pytest.fixture
    def solver(self):
        return ExactSolver()


class TestFrontSolver(SolverContract):
    @pytest.fixture
    def solver(self):
        return FrontSolver()


class TestIlpSolver(SolverContract):
    @pytest.fixture
    def solver(self):
        return IlpSolver()
