"""The contract that every cost model keeps; subclass `CostModelContract` and give it a `cost_model`."""

from __future__ import annotations

import math
import pickle

import pytest

from bitwright.problems.costing import CostModel
from bitwright.problems.errors import InputError
from bitwright.problems.exact import exact
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.precision import Precision

NETWORK = NetworkDescription(
    "two layers",
    (
        LayerDescription("conv", "Conv2d", 432, 442_368, (1, 3, 32, 32), (1, 16, 32, 32)),
        LayerDescription("fc", "Linear", 160, 160, (1, 16), (1, 10)),
    ),
)


class CostModelContract:
    """Tests that a cost model gives usable numbers for a network that it knows.

    More bits need not cost more: hardware does not promise that.
    """

    @pytest.fixture
    def cost_model(self) -> CostModel:
        """The cost model under test; subclasses override this."""
        raise NotImplementedError("a CostModelContract needs a `cost_model` fixture")

    @pytest.fixture
    def network(self) -> NetworkDescription:
        """A network that the model knows; override it where the default is none."""
        return NETWORK

    @pytest.fixture
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions that the model knows for every layer of the network."""
        return (Precision(4, 8), Precision(8, 8))

    def test_name_carries_a_unit(self, cost_model: CostModel) -> None:
        """The name is `bitops` or ends with the unit, as in `latency_us`."""
        quantity, _, unit = cost_model.name.rpartition("_")
        assert cost_model.name == "bitops" or (quantity and unit)

    def test_costs_are_finite_and_not_negative(
        self,
        cost_model: CostModel,
        network: NetworkDescription,
        precisions: tuple[Precision, ...],
    ) -> None:
        """Every cost, the fixed one too, is a finite number from 0 up."""
        costs = [cost_model.cost(layer, p) for layer in network for p in precisions]
        for cost in [*costs, cost_model.fixed_cost(network)]:
            assert exact(cost, cost_model.name) >= 0

    def test_same_question_same_answer(
        self,
        cost_model: CostModel,
        network: NetworkDescription,
        precisions: tuple[Precision, ...],
    ) -> None:
        """Asked twice, and after a trip through pickle, the model says the same."""
        twin = pickle.loads(pickle.dumps(cost_model))
        assert twin.name == cost_model.name
        for layer in network:
            for precision in precisions:
                cost = cost_model.cost(layer, precision)
                assert cost_model.cost(layer, precision) == cost
                assert twin.cost(layer, precision) == cost

    def test_unknown_layer_is_refused_by_name_or_costed(
        self, cost_model: CostModel, precisions: tuple[Precision, ...]
    ) -> None:
        """A layer never seen has a cost by formula, or raises an `InputError` that names it."""
        stranger = LayerDescription("no-such-layer", "Conv2d", 7, 77, (1, 7, 1, 1), (1, 1, 1, 1))
        try:
            cost = cost_model.cost(stranger, precisions[0])
        except InputError as error:
            assert "no-such-layer" in str(error)  # noqa: PT017 - either outcome is right
        else:
            assert math.isfinite(cost)
            assert cost >= 0
