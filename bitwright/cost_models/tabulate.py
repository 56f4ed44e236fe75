"""One table of all costs, ready for the choices of an allocation problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitwright.problems import InputError, LayerDescription, NetworkDescription, Precision, nearest
from bitwright.problems.exact import Number, exact
from bitwright.problems.protocols import CostModel


@dataclass(frozen=True)
class LayerCosts:
    """What every choice costs: `of[layer][precision][cost]`, and `fixed[cost]` of every network total.

    Numbers are as the cost models gave them, none negative; lower is better.
    """

    of: Mapping[str, Mapping[Precision, Mapping[str, Number]]]
    fixed: Mapping[str, Number]


def tabulate(
    network: NetworkDescription,
    candidates: Mapping[str, tuple[Precision, ...]],
    models: Sequence[CostModel],
) -> LayerCosts:
    """Ask every cost model for every candidate precision of every layer.

    Raises `InputError` for two models of one name, for a layer without candidates, and for a cost
    that is unknown, negative or not a finite number.
    """
    _check_names(models)
    _check_candidates(network, candidates)
    of = {
        layer.name: {
            precision: {model.name: _cost(model, layer, precision) for model in models}
            for precision in candidates[layer.name]
        }
        for layer in network
    }
    fixed = {
        model.name: _checked(model.fixed_cost(network), f"cost {model.name!r}: the fixed cost")
        for model in models
    }
    return LayerCosts(of, fixed)


def _check_names(models: Sequence[CostModel]) -> None:
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two cost models are named {name!r}; every cost needs its own name")


def _check_candidates(
    network: NetworkDescription, candidates: Mapping[str, tuple[Precision, ...]]
) -> None:
    for name in candidates:
        if name not in network.names:
            raise InputError(
                f"candidates name unknown layer {name!r}; {nearest(name, network.names)}"
            )
    for name in network.names:
        if not candidates.get(name):
            raise InputError(f"layer {name!r} has no candidate precisions")


def _cost(model: CostModel, layer: LayerDescription, precision: Precision) -> Number:
    what = f"cost {model.name!r}: layer {layer.name!r} at {precision}"
    return _checked(model.cost(layer, precision), what)


def _checked(value: Number, what: str) -> Number:
    if exact(value, what) < 0:
        raise InputError(f"{what} must not be negative, got {value}")
    return value
