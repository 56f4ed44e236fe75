"""Every cost model of ours keeps the public contract."""

import inspect

import pytest

from bitwright.cost_models import (
    BitOperations,
    CostTable,
    MeanWeightBits,
    PackedSize,
    Roofline,
    StoredSize,
    WeightSize,
)
from bitwright.cost_models.devices import load_device
from bitwright.problems import Peak, Precision
from bitwright.problems.costing import CostInteraction, CostSource
from bitwright.problems.operation import operation_key
from bitwright.testing.cost_model_contract import NETWORK, CostModelContract

from .speaking import Speaking
from .tables.boards import OPERATION, board, residual, row


class TestBitOperations(CostModelContract):
    @pytest.fixture
    def cost_model(self):
        return BitOperations()


class TestWeightSize(CostModelContract):
    @pytest.fixture
    def cost_model(self):
        return WeightSize()


class TestMeanWeightBits(CostModelContract):
    @pytest.fixture
    def cost_model(self):
        return MeanWeightBits().for_network(NETWORK, None)


@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
class TestPackedSize(CostModelContract):
    @pytest.fixture
    def cost_model(self, scheme):
        return PackedSize(weight_scheme=scheme)


@pytest.mark.parametrize("granularity", ["tensor", "group:2"])
class TestStoredSize(CostModelContract):
    @pytest.fixture
    def cost_model(self, granularity):
        return StoredSize(weight_granularity=granularity)


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
        return CostTable(file=file, interpolate=True)

    @pytest.fixture
    def device(self):
        return board()


class TestRoofline(CostModelContract):
    @pytest.fixture
    def cost_model(self):
        return Roofline()

    @pytest.fixture
    def device(self):
        return load_device("nvidia_t4")

    @pytest.fixture
    def precisions(self):
        return (Precision(4, 4), Precision(8, 8))


class TestSpeaking(CostModelContract):
    """A model with interactions and sources, so that their tests are not skipped for all."""

    @pytest.fixture
    def cost_model(self):
        return Speaking()


class OnlyPeak:
    """A cost that is a peak and nothing else."""

    name = "peak_activation_bytes"

    def peaks(self, network, candidates):
        return [Peak(self.name, tuple({name: 3} for name in network.names))]


class TestOnlyPeak(CostModelContract):
    @pytest.fixture
    def cost_model(self):
        return OnlyPeak()


BROKEN = {
    "test_the_model_for_a_network_keeps_its_name": {
        "for_network": lambda self, network, device: BitOperations(),
    },
    "test_interactions_fit_the_candidates": {
        "interactions": lambda self, network, candidates: [
            CostInteraction(network.names[:2], ((0,) * 2,) * 2)
        ],
    },
    "test_peaks_are_of_the_models_name": {
        "peaks": lambda self, network, candidates: [Peak("other", ({"conv": 1},))],
    },
    "test_sources_are_there_where_costs_are": {
        "source": lambda self, layer, precision: CostSource(spread=-1),
    },
}


@pytest.mark.parametrize("test", BROKEN)
def test_the_contract_finds_what_is_broken(test):
    """A model that breaks one promise fails just the test of that promise."""
    model = type("Broken", (Speaking,), BROKEN[test])()
    contract = CostModelContract()
    precisions = (Precision(4, 8), Precision(8, 8))
    ready = model.for_network(NETWORK, None) if hasattr(model, "for_network") else model
    asked = {"cost_model": model, "ready": ready, "network": NETWORK, "precisions": precisions}
    wanted = inspect.signature(getattr(contract, test)).parameters
    with pytest.raises(AssertionError):
        getattr(contract, test)(**{name: asked[name] for name in wanted})
