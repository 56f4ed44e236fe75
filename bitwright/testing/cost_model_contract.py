"""The contract that every cost model keeps; subclass `CostModelContract` and give it a `cost_model`.

What a model can say beyond costs (interactions, peaks, sources) is tested where it has the methods.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from bitwright.problems.costing import (
    CostModel,
    CostSource,
    HasInteractions,
    HasNotes,
    HasSources,
    NeedsNetwork,
    PeakModel,
)
from bitwright.problems.device import Device
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

    @pytest.fixture
    def device(self) -> Device | None:
        """The run's device, for models that need one."""
        return None

    @pytest.fixture
    def ready(
        self, cost_model: CostModel, network: NetworkDescription, device: Device | None
    ) -> CostModel:
        """The model for the network and device, as it is asked in a run."""
        if isinstance(cost_model, NeedsNetwork):
            return cost_model.for_network(network, device)
        return cost_model

    def test_name_carries_a_unit(self, cost_model: CostModel) -> None:
        """The name is `bitops` or ends with the unit, as in `latency_us`."""
        quantity, _, unit = cost_model.name.rpartition("_")
        assert cost_model.name == "bitops" or (quantity and unit)

    def test_costs_are_finite_and_not_negative(
        self,
        ready: CostModel,
        network: NetworkDescription,
        precisions: tuple[Precision, ...],
    ) -> None:
        """Every cost, the fixed one too, is a finite number from 0 up."""
        _need_layer_costs(ready)
        costs = [ready.cost(layer, p) for layer in network for p in precisions]
        for cost in [*costs, ready.fixed_cost(network)]:
            assert exact(cost, ready.name) >= 0

    def test_same_question_same_answer(
        self,
        ready: CostModel,
        network: NetworkDescription,
        precisions: tuple[Precision, ...],
    ) -> None:
        """Asked twice, and after a trip through pickle, the model says the same."""
        _need_layer_costs(ready)
        twin = pickle.loads(pickle.dumps(ready))
        assert twin.name == ready.name
        for layer in network:
            for precision in precisions:
                cost = ready.cost(layer, precision)
                assert ready.cost(layer, precision) == cost
                assert twin.cost(layer, precision) == cost

    def test_unknown_layer_is_refused_by_name_or_costed(
        self, ready: CostModel, precisions: tuple[Precision, ...]
    ) -> None:
        """A layer never seen has a cost by formula, or raises an `InputError` that names it."""
        _need_layer_costs(ready)
        stranger = LayerDescription("no-such-layer", "Conv2d", 7, 77, (1, 7, 1, 1), (1, 1, 1, 1))
        try:
            cost = ready.cost(stranger, precisions[0])
        except InputError as error:
            assert "no-such-layer" in str(error)  # noqa: PT017 - either outcome is right
        else:
            assert math.isfinite(cost)
            assert cost >= 0

    def test_the_model_for_a_network_keeps_its_name(
        self, cost_model: CostModel, ready: CostModel
    ) -> None:
        """Budgets name the cost before the network is known, so that the name must not change."""
        assert ready.name == cost_model.name

    def test_interactions_fit_the_candidates(
        self, ready: CostModel, network: NetworkDescription, precisions: tuple[Precision, ...]
    ) -> None:
        """Every pair is of two layers of the network, with an amount from 0 up for any two choices."""
        if not isinstance(ready, HasInteractions):
            pytest.skip("the model charges for no pairs")
        # A layer with fewer choices than the others shows a matrix that is turned round.
        candidates = dict.fromkeys(network.names, precisions) | {network.names[-1]: precisions[:1]}
        pairs = set()
        for term in ready.interactions(network, candidates):
            first, second = term.layers
            assert first != second
            assert len(term.amounts) == len(candidates[first])
            assert {len(row) for row in term.amounts} == {len(candidates[second])}
            assert all(exact(v, ready.name) >= 0 for row in term.amounts for v in row)
            pairs.add(frozenset(term.layers))
        assert len(pairs) == len(list(ready.interactions(network, candidates)))

    def test_peaks_are_of_the_models_name(
        self, ready: CostModel, network: NetworkDescription, precisions: tuple[Precision, ...]
    ) -> None:
        """Every peak bears the model's name and names layers of the network."""
        if not isinstance(ready, PeakModel):
            pytest.skip("the model has no peaks")
        for peak in ready.peaks(network, dict.fromkeys(network.names, precisions)):
            assert peak.cost == ready.name
            assert set(peak.layers) <= set(network.names)

    def test_notes_are_texts(
        self, ready: CostModel, network: NetworkDescription, precisions: tuple[Precision, ...]
    ) -> None:
        """Asked behind costs and peaks, the notes are texts, none of them empty."""
        if not isinstance(ready, HasNotes):
            pytest.skip("the model has no notes")
        if isinstance(ready, PeakModel):
            ready.peaks(network, dict.fromkeys(network.names, precisions))
        if isinstance(ready, CostModel):
            ready.cost(network.layers[0], precisions[0])
        assert all(isinstance(note, str) and note for note in ready.notes())

    def test_sources_are_there_where_costs_are(
        self, ready: CostModel, network: NetworkDescription, precisions: tuple[Precision, ...]
    ) -> None:
        """What is costed has a source, with a spread from 0 up; what is refused has none either."""
        if not isinstance(ready, HasSources):
            pytest.skip("the model does not say where figures come from")
        for layer in network:
            for precision in precisions:
                source = ready.source(layer, precision)
                assert isinstance(source, CostSource)
                assert source.spread is None or exact(source.spread, ready.name) >= 0
        stranger = LayerDescription("no-such-layer", "Conv2d", 7, 77, (1, 7, 1, 1), (1, 1, 1, 1))
        for layer, precision in ((stranger, precisions[0]), (network.layers[0], Precision(31, 31))):
            assert _refuses(ready.cost, layer, precision) == _refuses(
                ready.source, layer, precision
            )


def _need_layer_costs(ready: object) -> None:
    if not isinstance(ready, CostModel):
        pytest.skip("the model is a peak, which layers have no cost of")


def _refuses(ask: Callable[[LayerDescription, Precision], object], *what: Any) -> bool:
    try:
        ask(*what)
    except InputError:
        return True
    return False
