"""Peaks of activations by hand, for all bits of small networks, and through the solvers."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitwright import api
from bitwright.cost_models import PeakActivation, WeightSize, tabulate
from bitwright.cost_models.peak_activation import MOST_ROWS
from bitwright.networks import read_network
from bitwright.networks.torchvision_import import import_torchvision
from bitwright.problems import (
    AllocationProblem,
    Choice,
    InputError,
    LayerChoices,
    LayerDescription,
    NetworkDescription,
    Precision,
    Tie,
)
from bitwright.problems.costing import PeakModel
from bitwright.problems.network import ActivationTensor
from bitwright.testing.brute_force import brute_force

from ..networks.architectures import Residual


@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("resnet18", 64 * 112**2 + 64 * 56**2),  # around the first pooling
        ("mobilenet_v2", 96 * 112**2 + 96 * 56**2),  # around the first depthwise stride
    ],
)
def test_published_architectures_by_hand(name, elements):
    """At 8 bits and 224 pixels the peak is a byte for each value of the two largest neighbours."""
    model = import_torchvision().models.get_model(name, weights=None)
    network = read_network(model, (torch.zeros(1, 3, 224, 224),)).description
    (peak,) = PeakActivation().peaks(network, dict.fromkeys(network.names, (Precision(8, 8),)))
    assert peak.value(dict.fromkeys(network.names, 8)) == elements


def layer(name, **options):
    return LayerDescription(name, "Linear", 80, 80, (1, 8), (1, 8), **options)


def network(*tensors, layers="abcd", ties=()):
    described = tuple(ActivationTensor(*tensor) for tensor in tensors)
    return NetworkDescription("net", tuple(map(layer, layers)), ties, tensors=described)


def offered(net, *bits):
    return {name: tuple(Precision(8, b) for b in bits) for name in net.names}


def rows(net, *bits):
    (peak,) = PeakActivation().peaks(net, offered(net, *bits))
    return [dict(step) for step in peak.steps]


CHAIN = (
    (16, (), ("a",), (0, 1)),  # the input of the network
    (80, ("a",), ("b",), (1, 2)),
    (8, ("b",), (), (2, 2)),  # its output
)


def test_a_chain_by_hand():
    """Input and hidden tensor at their readers' bits, the output at its maker's; bytes per bit."""
    net = network(*CHAIN)
    assert sorted(rows(net, 2, 8), key=len) == [
        {"b": 11},
        {"a": 2, "b": 10},
    ]  # 16 and 80 values; 80 and 8
    (peak,) = PeakActivation().peaks(net, offered(net, 2, 8))
    assert peak.value({"a": 8, "b": 2, "c": 2, "d": 2}) == 2 * 8 + 10 * 2
    assert peak.value({"a": 2, "b": 8, "c": 2, "d": 2}) == 11 * 8


def test_several_readers_keep_the_most_bits():
    """One row for each reader that may ask for the most; tied readers are one."""
    tensor = (80, (), ("a", "b"), (0, 2))
    assert sorted(rows(network(tensor), 2, 8), key=min) == [{"a": 10}, {"b": 10}]
    tie = Tie(("a", "b"), "activation")
    assert rows(network(tensor, ties=(tie,)), 2, 8) == [{"a": 10}]
    assert len(rows(network(tensor, ties=(Tie(("a", "b"), "weight"),)), 2, 8)) == 2
    net = network(tensor)
    choices = {**offered(net, 2, 4), "b": (Precision(8, 8),)}  # a can never ask for more than b
    (peak,) = PeakActivation().peaks(net, choices)
    assert [dict(step) for step in peak.steps] == [{"b": 10}]


def test_what_no_layer_touches_has_no_bits():
    """A tensor without makers and readers is left out; with no other, nothing is known."""
    assert rows(network(*CHAIN, (999, (), (), (0, 2))), 8) == rows(network(*CHAIN), 8)
    for net in (network((999, (), (), (0, 2))), network()):
        with pytest.raises(
            InputError, match=r"'peak_activation_bytes'.*network 'net' says nothing"
        ):
            PeakActivation().peaks(net, offered(net, 8))


def test_too_many_combinations_become_an_upper_bound():
    """Of 4 tensors with 8 readers each no 4096 rows are made; what is made is never below the truth."""
    names = [f"l{i}" for i in range(32)]
    net = network(*[(8, (), names[8 * i : 8 * i + 8], (0, 1)) for i in range(4)], layers=names)
    costs = tabulate(net, offered(net, 2, 8), [PeakActivation()])
    (peak,) = costs.peaks
    assert len(peak.steps) <= MOST_ROWS
    (note,) = costs.notes["peak_activation_bytes"]
    assert "1 of 1 steps" in note
    draw = random.Random(0)
    for _ in range(200):
        bits = {name: draw.choice((2, 8)) for name in names}
        truth = sum(max(bits[name] for name in names[8 * i : 8 * i + 8]) for i in range(4))
        assert truth <= peak.value(bits) <= 4 * 8
    assert peak.value(dict.fromkeys(names, 2)) == 4 * 2


def test_an_exact_peak_has_no_note():
    """Without a step that is bounded nothing is said, also behind a network where something was."""
    names = [f"l{i}" for i in range(80)]
    model = PeakActivation()
    several = network(*[(8, (), names[8 * i : 8 * i + 8], (0, 1)) for i in range(4)], layers=names)
    single = network((8, (), names, (0, 1)), layers=names)  # 80 rows, one for each reader
    for net, said in ((several, 1), (single, 0)):
        model.peaks(net, offered(net, 2, 8))
        assert len(model.notes()) == said


tensors = st.builds(
    lambda elements, layers, first, length: (elements, (), layers, (first, first + length)),
    st.integers(1, 50),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True),
    st.integers(0, 5),
    st.integers(0, 3),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(tensors, min_size=1, max_size=8),
    st.lists(
        st.lists(st.sampled_from((2, 4, 8)), min_size=1, max_size=3, unique=True),
        min_size=4,
        max_size=4,
    ),
)
@example([(1, (), layers, (0, 0)) for layers in ("abc", "bcd", "cda", "abd")], [[2, 4]] * 4)
def test_no_row_is_missing_or_too_much(found, bits):
    """For all bits that can be chosen, the largest row is the largest step, added up by hand.

    Only where a step has too many combinations of readers may it be above, and the notes say so.
    """
    net = network(*found)
    choices = {
        name: tuple(Precision(8, b) for b in of) for name, of in zip("abcd", bits, strict=True)
    }
    model = PeakActivation()
    (peak,) = model.peaks(net, choices)
    alive = [[of for _, _, of, (a, b) in found if a <= step <= b] for step in range(10)]
    crowded = any(math.prod(map(len, readers)) > MOST_ROWS for readers in alive)
    assert crowded or not model.notes()
    for chosen in itertools.product(*bits):
        of = dict(zip("abcd", chosen, strict=True))
        by_step = [
            sum(
                n * max(of[r] for r in readers) for n, _, readers, (a, b) in found if a <= step <= b
            )
            for step in range(10)
        ]
        truth = Fraction(max(by_step), 8)
        assert peak.value(of) >= truth if model.notes() else peak.value(of) == truth


@pytest.mark.parametrize("solver", ["exact", "ilp"])
def test_budgets_on_the_peak_are_kept_at_the_least_loss(solver):
    """A network that was read, solved under a budget on its peak: the loss is brute force's."""
    torch.manual_seed(0)
    net = read_network(Residual(), (torch.randn(1, 3, 9, 9),)).description
    choices = {n: tuple(Precision(w, a) for w in (4, 8) for a in (2, 4, 8)) for n in net.names}
    model = PeakActivation()
    assert isinstance(model, PeakModel)
    costs = tabulate(net, choices, [WeightSize(), model])
    assert costs.fixed == {"size_bits": 0}
    draw = random.Random(2)
    weight = {name: draw.uniform(1, 9) for name in net.names}
    problem = AllocationProblem.from_layers(
        "p",
        [
            LayerChoices(
                name,
                tuple(
                    Choice(p, weight[name] * (4.0**-p.weight_bits + 2.0**-p.activation_bits), of[p])
                    for p in of
                ),
            )
            for name, of in costs.of.items()
        ],
        ties=net.ties,
        peaks=costs.peaks,
    )
    losses = set()
    lowest = problem.peaks[0].value(dict.fromkeys(net.names, 2))
    for share in (1, Fraction(3, 2), 2, 3, 4):
        budgets = {"peak_activation_bytes": share * lowest, "size_bits": 8000}
        solution = api.solve(problem, budgets=budgets, solver=solver)
        truth = brute_force(problem.with_budgets(budgets))
        assert solution.status == "optimal"
        assert solution.loss == pytest.approx(truth.loss, rel=1e-12)
        losses.add(truth.loss)
    assert len(losses) >= 3  # the budgets bind
