"""What a network costs with every layer at one precision, by any cost models, on a device or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bitwright.cost_models import LayerCosts, tabulate
from bitwright.problems import AllocationProblem, Choice, Device, LayerChoices
from bitwright.problems.costing import CostModel, CostSource, PeakModel
from bitwright.problems.exact import exact, plain
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.precision import Precision

_MOST_NAMED = 3


@dataclass(frozen=True)
class UniformConfiguration:
    """One precision for every layer that may have it, and what that costs.

    `chosen` differs from `precision` where a pin holds or a layer stays in float32. `totals` are those
    that the allocation problem of this one configuration has: fixed costs, interactions and
    peaks included. `fixed` and `between` are the parts of each that belong to no layer, and to pairs.
    """

    precision: Precision
    chosen: Mapping[str, Precision]
    table: LayerCosts
    totals: Mapping[str, int | float]
    fixed: Mapping[str, int | float]
    between: Mapping[str, int | float]

    def layer_cost(self, layer: str, cost: str) -> int | float:
        """The cost of one layer."""
        return plain(exact(self.table.of[layer][self.chosen[layer]][cost]))

    def source(self, layer: str, cost: str) -> CostSource:
        """Where that figure comes from; empty for models that do not say."""
        known = self.table.sources.get(cost, {}).get(layer, {})
        return known.get(self.chosen[layer], CostSource())

    @property
    def layer_costs(self) -> tuple[str, ...]:
        """Names of the costs that layers have; a peak is no layer's."""
        return tuple(self.table.fixed)


def uniform_configurations(
    network: NetworkDescription,
    precisions: Sequence[Precision],
    models: Sequence[CostModel | PeakModel],
    device: Device | None,
    *,
    pinned: bool,
) -> tuple[list[UniformConfiguration], dict[Precision, str]]:
    """Every uniform configuration that the device can store, and why it cannot store the others.

    Pins hold where `pinned` says so; layers that cannot be quantized stay in float32. Raises
    `InputError` for a cost that a model does not know.
    """
    made, left_out = [], {}
    for precision in dict.fromkeys(precisions):
        chosen = {layer.name: _chosen(layer, precision, pinned) for layer in network}
        if device is not None and (reason := _not_stored(network, chosen, device)):
            left_out[precision] = reason
            continue
        made.append(_configuration(network, precision, chosen, models, device))
    return made, left_out


def runs_as(
    network: NetworkDescription, configuration: UniformConfiguration, device: Device
) -> dict[str, int]:
    """How many layers of a configuration run as each compute type of the device."""
    counts: dict[str, int] = {}
    for layer in network:
        name = device.layer_runs_as(layer, configuration.chosen[layer.name]) or "nothing"
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _configuration(
    network: NetworkDescription,
    precision: Precision,
    chosen: Mapping[str, Precision],
    models: Sequence[CostModel | PeakModel],
    device: Device | None,
) -> UniformConfiguration:
    table = tabulate(network, {name: (p,) for name, p in chosen.items()}, models, device)
    problem = AllocationProblem.from_layers(
        network.name,
        [LayerChoices(n, (Choice(p, 0.0, table.of[n][p]),)) for n, p in chosen.items()],
        interactions=table.interactions,
        peaks=table.peaks,
        fixed_costs=table.fixed,
    )
    costs = problem.evaluate(np.arange(len(problem), dtype=np.int64)).costs
    between = dict.fromkeys(table.fixed, exact(0))
    for term in table.interactions:
        for cost, matrix in term.costs.items():
            between[cost] += matrix[0][0]
    return UniformConfiguration(
        precision,
        chosen,
        table,
        totals={model.name: plain(costs[model.name]) for model in models if model.name in costs},
        fixed={name: plain(exact(value)) for name, value in table.fixed.items()},
        between={name: plain(value) for name, value in between.items()},
    )


def _chosen(layer: LayerDescription, precision: Precision, pinned: bool) -> Precision:
    if not pinned:
        layer = replace(layer, pinned=None, least=None)
    if layer.least is not None:
        raised = Precision(
            max(precision.weight_bits, layer.least.weight_bits),
            max(precision.activation_bits, layer.least.activation_bits),
        )
        return layer.candidates((raised,))[0]
    return layer.candidates((precision,))[0]


def _not_stored(
    network: NetworkDescription, chosen: Mapping[str, Precision], device: Device
) -> str:
    """Which layers the device cannot store so, empty where it can store all."""
    refused = [
        layer for layer in network if device.layer_runs_as(layer, chosen[layer.name]) is None
    ]
    if not refused:
        return ""
    named = [f"{layer.name} ({layer.kind}) at {chosen[layer.name]}" for layer in refused]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"device {device.name!r} does not store {', '.join(named[:_MOST_NAMED])}{more}"
