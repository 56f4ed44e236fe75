"""A problem on a device: the choices that it can store, and what each of an answer's layers runs as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.device import Device, is_depthwise
from bitwright.problems.errors import InputError
from bitwright.problems.exact import ExactColumn
from bitwright.problems.formats.json_text import naming
from bitwright.problems.front import ParetoFront
from bitwright.problems.network import NetworkDescription
from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.solution import Solution
from bitwright.problems.terms import Interaction, Matrix

Placed = Callable[[str, Precision], str | None]


def placed_by(device: Device, network: NetworkDescription | None = None) -> Placed:
    """What a layer at a precision runs as, or None where the device cannot store it.

    With a network a layer's kind decides; its channel groups, such as `conv1[0:16]`, go by the layer.
    Without one nobody knows kinds, and what the device stores for any kind counts: its entry for all
    kinds first, then the others in their order.
    """
    anywhere = cache(device.anywhere)
    if network is None:
        return lambda _, precision: anywhere(precision)
    layers = {layer.name: layer for layer in network}

    @cache  # layers of one kind are many, and so are the groups of a layer
    def of_kind(kind: str, depthwise: bool, precision: Precision) -> str | None:
        return device.runs_as(kind, precision, depthwise=depthwise)

    def placed(name: str, precision: Precision) -> str | None:
        layer = layers.get(name) or layers.get(name.rpartition("[")[0]) or network[name]
        return of_kind(layer.kind, is_depthwise(layer), precision)

    return placed


def on_device(
    problem: AllocationProblem, device: Device, network: NetworkDescription | None = None
) -> AllocationProblem:
    """The problem with those choices that the device can store.

    Raises `InputError` for a layer that is left without any, and where tied layers share none.
    """
    placed = placed_by(device, network)
    keep = np.array([
        placed(name, problem.precision(j)) is not None
        for name in problem.layers
        for j in problem.span(name)
    ])  # fmt: skip
    if keep.all():
        return problem
    counts = np.add.reduceat(keep, problem.choice_start[:-1], dtype=np.int64)
    if not counts.all():
        name = problem.layers[int(np.flatnonzero(counts == 0)[0])]
        offered = ", ".join(problem.precision(j).label for j in problem.span(name))
        kind = None if network is None else (network, name)
        raise InputError(
            f"layer {name!r} offers {offered}, and device {device.name!r} stores none of them; "
            f"it stores {_stored(device, kind)}"
        )
    with naming(f"device {device.name!r}"):
        return _with_choices(problem, keep, counts)


def _stored(device: Device, layer: tuple[NetworkDescription, str] | None) -> str:
    if layer is None:
        found = dict.fromkeys(p for entry in device.support for p in entry.runs_as)
    else:
        network, name = layer
        base = name if name in network.names else name.rpartition("[")[0]
        found = dict.fromkeys(
            device.storable(network[base].kind, depthwise=is_depthwise(network[base]))
        )
    return listed(found) or "nothing of its kind"


def listed(precisions: Mapping[Precision, object], show: int = 12) -> str:
    """Precisions in words, the first dozen of many."""
    labels = [precision.label for precision in precisions]
    more = f", ... ({len(labels)} in all)" if len(labels) > show else ""
    return ", ".join(labels[:show]) + more


def _with_choices(
    problem: AllocationProblem, keep: NDArray[np.bool_], counts: NDArray[np.int64]
) -> AllocationProblem:
    kept = np.flatnonzero(keep)
    left = {
        name: [k for k, j in enumerate(problem.span(name)) if keep[j]]
        for name in {name for term in problem.interactions for name in term.layers}
    }
    return replace(
        problem,
        choice_start=np.concatenate([[0], np.cumsum(counts)]),
        weight_bits=problem.weight_bits[kept],
        activation_bits=problem.activation_bits[kept],
        loss=problem.loss[kept],
        variants=tuple(problem.variants[j] for j in kept.tolist()),
        costs={
            name: ExactColumn(column.units[kept], column.digits)
            for name, column in problem.costs.items()
        },
        interactions=tuple(
            _smaller(term, left[term.layers[0]], left[term.layers[1]])
            for term in problem.interactions
        ),
    )


def _smaller(term: Interaction, rows: list[int], columns: list[int]) -> Interaction:
    def part(matrix: Matrix) -> Matrix:
        return tuple(tuple(matrix[a][b] for b in columns) for a in rows)

    loss = tuple(tuple(term.loss[a][b] for b in columns) for a in rows)
    return Interaction(term.layers, loss, {name: part(m) for name, m in term.costs.items()})


def placed_solution(
    solution: Solution, device: Device, network: NetworkDescription | None = None
) -> Solution:
    """The solution with the device's name, and what every layer runs as on it."""
    placed = placed_by(device, network)
    return replace(solution, device=device.name, runs_as=_runs_as(placed, solution.configuration))


def placed_front(
    front: ParetoFront, device: Device, network: NetworkDescription | None = None
) -> ParetoFront:
    """The front with the device's name, and what the layers of its configurations run as on it."""
    placed = placed_by(device, network)
    runs_as = tuple(_runs_as(placed, configuration) for configuration in front.configurations)
    return replace(front, device=device.name, runs_as=runs_as)


def _runs_as(placed: Placed, configuration: BitConfiguration | None) -> dict[str, str]:
    found = {name: placed(name, precision) for name, precision in (configuration or {}).items()}
    return {name: compute_type for name, compute_type in found.items() if compute_type}
