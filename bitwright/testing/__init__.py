"""What the author of a plug-in runs on his own solver or cost model; needs pytest.

from bitwright.testing.solver_contract import SolverContract

class TestMySolver(SolverContract):
    @pytest.fixture
    def solver(self):
        return MySolver()
"""

import pytest

pytest.register_assert_rewrite(
    "bitwright.testing.solver_contract",
    "bitwright.testing.fronts",
    "bitwright.testing.cost_model_contract",
)
