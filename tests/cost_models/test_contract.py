"""Every cost model of ours keeps the public contract."""

import pytest

from bitwright.cost_models import BitOperations, CostTable, WeightSize
from bitwright.problems import Precision
from bitwright.problems.operation import operation_key
from bitwright.testing.cost_model_contract import NETWORK, CostModelContract

from .tables.boards import OPERATION, board, residual, row


class TestBitOperations(CostModelContract):
    @pytest.fixture
    def cost_model(self):
        return BitOperations()


class TestWeightSize(CostModelContract):
    @pytest.fixture
    def cost_model(self):
        return WeightSize()


class TestCostTable(CostModelContract):
    @pytest.fixture
    def cost_model(self, tmp_path, precisions):
        rows = [
            f"{layer.name},{p.weight_bits},{p.activation_bits},{p.weight_bits}.5"
            for layer in NETWORK
            for p in precisions
        ]
        file = tmp_path / "table.csv"
        file.write_text("\n".join(["layer,weight_bits,activation_bits,latency_us", *rows]))
        return CostTable(file=file)


class TestCostTableByOperation(CostModelContract):
    """Also with every option on: estimates, end-to-end prediction and a device."""

    @pytest.fixture
    def network(self):
        return residual()

    @pytest.fixture
    def cost_model(self, tmp_path, network):
        rows = [row(operation_key(layer), Precision(8, 8), "1.5") for layer in network]
        file = tmp_path / "table.csv"
        file.write_text("\n".join(["# overhead_us: 2", "# factor_us: 1.25", OPERATION, *rows]))
        return CostTable(file=file, interpolate=True).for_network(network, board())
