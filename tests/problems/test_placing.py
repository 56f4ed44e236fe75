"""Problems on a device: what is kept is what a walk over all choices keeps, and answers name it."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright import api
from bitwright.problems import (
    AllocationProblem,
    Choice,
    InputError,
    Interaction,
    LayerChoices,
    LayerDescription,
    NetworkDescription,
    Precision,
    Tie,
)
from bitwright.problems.device import ComputeType, Device, Support
from bitwright.problems.placing import on_device, placed_solution

LABELS = ("w2a8", "w4a8", "w8a8", "w4a8-hybrid", "w8a8-nf8", "w16a16-float", "w32a32")
PRECISIONS = [Precision.parse(label) for label in LABELS]
NETWORK = NetworkDescription(
    "net",
    (
        LayerDescription("a", "Conv2d", 8, 8, (1, 4, 4, 4), (1, 4, 4, 4), in_channels=4, groups=4),
        LayerDescription("b", "Conv2d", 8, 8, (1, 4, 4, 4), (1, 4, 4, 4), in_channels=4, groups=1),
        LayerDescription("c", "Linear", 8, 8, (1, 4), (1, 4)),
    ),
)


@st.composite
def devices(draw) -> Device:
    """A device with entries for some kinds; all store w8a8, so that no layer is left without."""

    def runs_as():
        extra = draw(st.sets(st.sampled_from(PRECISIONS)))
        return dict.fromkeys(extra | {Precision(8, 8)}, draw(st.sampled_from(("int8", "other"))))

    support = [Support(runs_as())]
    if draw(st.booleans()):
        support.append(Support(runs_as(), ("Linear",)))
    if draw(st.booleans()):
        support += [Support(runs_as(), ("Conv2d",), flag) for flag in (True, False)]
    return Device("board", "B", (ComputeType("int8"), ComputeType("other")), support)


def problem(seed: int) -> AllocationProblem:
    """Three layers that offer everything, with random losses, costs and one pairwise term."""
    rng = np.random.default_rng(seed)
    count = len(PRECISIONS)
    layers = [
        LayerChoices(
            name,
            tuple(
                Choice(p, float(rng.integers(0, 9)), {"ms": Fraction(int(rng.integers(0, 99)), 10)})
                for p in PRECISIONS
            ),
        )
        for name in "abc"
    ]
    pair = Interaction(
        ("a", "c"),
        tuple(map(tuple, rng.integers(0, 5, (count, count)).astype(float).tolist())),
        {"ms": tuple(map(tuple, rng.integers(0, 5, (count, count)).tolist()))},
    )
    return AllocationProblem.from_layers("p", layers, interactions=(pair,))


def stores(device: Device, layer: LayerDescription, precision: Precision) -> bool:
    """The rule of the format, read out: entries of the kind, else those of none; forms as plain."""
    entries = [e for e in device.support if layer.kind in e.kinds]
    entries = entries or [e for e in device.support if not e.kinds]
    depthwise = layer.groups == 4
    plain = Precision(precision.weight_bits, precision.activation_bits)
    names = {precision, plain} if precision.variant == "hybrid" else {precision}
    return any(names & set(e.runs_as) for e in entries if e.depthwise in (None, depthwise))


@given(devices(), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_kept_choices_and_their_best_are_those_of_brute_force(device, seed):
    """The smaller problem has the choices that the rule allows, and every total of the larger."""
    whole = problem(seed)
    small = on_device(whole, device, NETWORK)
    allowed = [
        [j for j, p in enumerate(PRECISIONS) if stores(device, layer, p)] for layer in NETWORK
    ]
    assert [[c.precision for c in layer.choices] for layer in small] == [
        [PRECISIONS[j] for j in kept] for kept in allowed
    ]
    best = math.inf
    for picked in itertools.product(*allowed):
        chosen = {name: PRECISIONS[j] for name, j in zip("abc", picked, strict=True)}
        of_whole = whole.evaluate(whole.selection(chosen))
        assert small.evaluate(small.selection(chosen)) == of_whole
        best = min(best, of_whole.loss)
    solution = api.solve(whole, device=device, network=NETWORK)
    assert solution.loss == best
    assert solution.runs_as == {
        name: device.layer_runs_as(NETWORK[name], p) for name, p in solution.configuration.items()
    }
    assert solution.device == "board"


@given(devices(), st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_without_a_network_any_kind_counts(device, seed):
    """A choice is kept where some entry stores it."""
    kept = on_device(problem(seed), device)
    for layer in kept:
        for precision in PRECISIONS:
            some = any(
                stores(Device("d", "D", device.compute_types, (entry,)), NETWORK["c"], precision)
                for entry in (Support(e.runs_as) for e in device.support)
            )
            assert (precision in [c.precision for c in layer.choices]) == some


def device_of(*labels: str) -> Device:
    runs_as = dict.fromkeys(map(Precision.parse, labels), "int8")
    return Device("board", "B", (ComputeType("int8"),), (Support(runs_as),))


def test_a_device_that_stores_all_changes_nothing():
    """The very same problem comes back."""
    whole = problem(0)
    assert on_device(whole, device_of(*LABELS)) is whole


def test_channel_groups_go_by_their_layer():
    """`b[0:2]` is of the kind of `b`."""
    choices = tuple(Choice(Precision(b, 8), 0.0, {}) for b in (4, 8))
    groups = AllocationProblem.from_layers(
        "g", [LayerChoices("b[0:2]", choices, (0, 2)), LayerChoices("b[2:4]", choices, (2, 4))]
    )
    kept = on_device(groups, device_of("w8a8"), NETWORK)
    assert [[c.precision.label for c in layer.choices] for layer in kept] == [["w8a8"], ["w8a8"]]
    assert kept.channels == groups.channels


def choices_of(*labels: str) -> tuple[Choice, ...]:
    return tuple(Choice(Precision.parse(label), 0.0, {}) for label in labels)


@pytest.mark.parametrize(
    ("layers", "ties", "network", "message"),
    [
        ({"a": "w2a8 w4a8", "b": "w8a8"}, (), None, "layer 'a' offers w2a8, w4a8, and device 'board' stores none of them; it stores w8a8, w8a4"),
        ({"a": "w2a8 w4a8"}, (), NETWORK, "layer 'a' offers w2a8, w4a8, and device 'board' stores none"),
        ({"a": "w2a8 w8a4", "b": "w8a8 w2a8"}, (Tie(("a", "b")),), None, "device 'board': tied layers ['a', 'b'] (side 'all') have no common choice"),
        ({"x": "w8a8"}, (), NETWORK, "network 'net' has no layer 'x'"),
    ],
)  # fmt: skip
def test_what_is_left_without_choices_is_named(layers, ties, network, message):
    """A layer without any, and tied layers without a common one, are errors that name the device."""
    given_layers = [LayerChoices(n, choices_of(*labels.split())) for n, labels in layers.items()]
    with pytest.raises(InputError) as error:
        on_device(
            AllocationProblem.from_layers("p", given_layers, ties=ties),
            device_of("w8a8", "w8a4"),
            network,
        )
    assert message in str(error.value)


def test_an_infeasible_solution_names_the_device_and_no_layers():
    """There is nothing that runs."""
    solution = api.solve(problem(1), budgets={"ms": 0})
    placed = placed_solution(solution, device_of("w8a8"))
    assert (placed.configuration, placed.device, placed.runs_as) == (None, "board", {})
