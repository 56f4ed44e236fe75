"""One table of all costs, ready for the choices of an allocation problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bitwright.problems import (
    Device,
    InputError,
    Interaction,
    LayerDescription,
    NetworkDescription,
    Peak,
    Precision,
    nearest,
)
from bitwright.problems.costing import (
    Candidates,
    CostInteraction,
    CostModel,
    CostSource,
    HasInteractions,
    HasNotes,
    HasSources,
    NeedsNetwork,
    PeakModel,
)
from bitwright.problems.errors import BitwrightError
from bitwright.problems.exact import Number, exact


@dataclass(frozen=True)
class LayerCosts:
    """What every choice costs: `of[layer][precision][cost]`, and `fixed[cost]` of every network total.

    Numbers are as the cost models gave them, none negative; lower is better. `interactions` (with no
    loss) and `peaks` are terms of the problem, in the order of the candidates. `sources[cost][layer]`
    and `notes[cost]` say where figures come from, of the models that can say it.
    """

    of: Mapping[str, Mapping[Precision, Mapping[str, Number]]]
    fixed: Mapping[str, Number]
    interactions: tuple[Interaction, ...] = ()
    peaks: tuple[Peak, ...] = ()
    sources: Mapping[str, Mapping[str, Mapping[Precision, CostSource]]] = field(
        default_factory=dict
    )
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def tabulate(
    network: NetworkDescription,
    candidates: Candidates,
    models: Sequence[CostModel | PeakModel],
    device: Device | None = None,
) -> LayerCosts:
    """Ask every cost model for every candidate precision of every layer.

    Raises `InputError` for two models of one name, for a layer without candidates, and for a cost
    that is unknown, negative or not a finite number.
    """
    _check_names(models)
    _check_candidates(network, candidates)
    ready = [m.for_network(network, device) if isinstance(m, NeedsNetwork) else m for m in models]
    additive = [model for model in ready if isinstance(model, CostModel)]
    of = {
        layer.name: {
            precision: {model.name: _cost(model, layer, precision) for model in additive}
            for precision in candidates[layer.name]
        }
        for layer in network
    }
    fixed = {
        model.name: _checked(model.fixed_cost(network), f"cost {model.name!r}: the fixed cost")
        for model in additive
    }
    described = [model for model in additive if isinstance(model, HasSources)]
    return LayerCosts(
        of,
        fixed,
        interactions=_interactions(additive, network, candidates),
        peaks=tuple(
            peak
            for model in ready
            if isinstance(model, PeakModel)
            for peak in model.peaks(network, candidates)
        ),
        sources={
            model.name: {
                layer.name: {p: model.source(layer, p) for p in candidates[layer.name]}
                for layer in network
            }
            for model in described
        },
        notes={model.name: tuple(model.notes()) for model in ready if isinstance(model, HasNotes)},
    )


def _interactions(
    models: Sequence[CostModel], network: NetworkDescription, candidates: Candidates
) -> tuple[Interaction, ...]:
    """One term per pair of layers, with the costs of all models that charge for it."""
    pairs: dict[tuple[str, str], dict[str, CostInteraction]] = {}
    for model in models:
        if isinstance(model, HasInteractions):
            for term in model.interactions(network, candidates):
                for name in term.layers:
                    if name not in network.names:
                        raise InputError(
                            f"cost {model.name!r}: an interaction names unknown layer {name!r}; "
                            f"{nearest(name, network.names)}"
                        )
                if model.name in pairs.setdefault(term.layers, {}):
                    raise InputError(
                        f"cost {model.name!r}: the interaction of {term.layers[0]!r} and "
                        f"{term.layers[1]!r} is given twice"
                    )
                pairs[term.layers][model.name] = term
    return tuple(_interaction(pair, terms, candidates) for pair, terms in pairs.items())


def _interaction(
    pair: tuple[str, str], terms: Mapping[str, CostInteraction], candidates: Candidates
) -> Interaction:
    rows, columns = (len(candidates[name]) for name in pair)
    for cost, term in terms.items():
        what = f"cost {cost!r}: the interaction of {pair[0]!r} and {pair[1]!r}"
        if [len(row) for row in term.amounts] != [columns] * rows:
            raise InputError(f"{what} must have {rows} rows of {columns} amounts")
        for row in term.amounts:
            for amount in row:
                _checked(amount, what)
    return Interaction(
        pair,
        loss=((0.0,) * columns,) * rows,
        costs={
            cost: tuple(tuple(exact(amount, cost) for amount in row) for row in term.amounts)
            for cost, term in terms.items()
        },
    )


def _check_names(models: Sequence[CostModel | PeakModel]) -> None:
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two cost models are named {name!r}; every cost needs its own name")


def _check_candidates(network: NetworkDescription, candidates: Candidates) -> None:
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
    try:
        cost = model.cost(layer, precision)
    except BitwrightError:
        raise
    # Anything at all may go wrong inside somebody else's model; the cause stays attached.
    except Exception as error:
        raise InputError(f"{what}: {type(error).__name__}: {error}") from error
    return _checked(cost, what)


def _checked(value: Number, what: str) -> Number:
    if exact(value, what) < 0:
        raise InputError(f"{what} must not be negative, got {value}")
    return value
