"""The drawing of a network: what it keeps, where things stand, and what is written beside them."""

import itertools

import networkx as nx
import pytest
import torch
from torch import nn

from bitwright.graph_layout import places, skeleton
from bitwright.graph_plot import draw_network
from bitwright.networks import TracedNetwork, read_network

from .networks.architectures import CASES, Residual, YoloLike, resnet18


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def residual():
    return read_network(Residual(), (torch.zeros(1, 3, 8, 8),), "residual", ties=("ompq",))


def test_the_skeleton_keeps_layers_and_where_tensors_meet():
    """Batch norm, ReLU and the like are ways; layers, the addition and both ends are nodes."""
    graph = skeleton(residual().graph)
    names = {n: d["layer"] or d["kind"] for n, d in graph.nodes(data=True)}
    assert {(names[a], names[b]) for a, b in graph.edges} == {
        *(("input", "stem"), ("stem", "conv"), ("stem", "shortcut"), ("conv", "add")),
        *(("shortcut", "add"), ("add", "output")),
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_everything_has_a_place_of_its_own_below_what_it_reads(case):
    """No two nodes share a place, and every edge leads down, or to a later column."""
    graph = skeleton(read_network(case.build(), case.inputs()).graph)
    at = places(graph)
    assert len(set(at.values())) == len(graph)
    assert all((at[a].column, at[a].row) < (at[b].column, at[b].row) for a, b in graph.edges)
    assert nx.is_directed_acyclic_graph(graph)


def test_long_networks_are_folded_between_blocks():
    """A chain is folded into columns; where blocks end a fold crosses one edge only."""
    chain = nn.Sequential(*(nn.Linear(2, 2) for _ in range(100)))
    at = places(skeleton(read_network(chain, (torch.zeros(1, 2),)).graph))
    assert max(place.column for place in at.values()) == 3
    assert {place.lane for place in at.values()} == {0}
    assert max(place.row for place in at.values()) <= 36


def texts(figure):
    (axis,) = figure.axes
    return [text.get_text() for text in axis.texts]


def test_layers_ties_and_totals_are_written():
    """Every layer by name and kernel, every tie by number and reason, the totals on top."""
    network = residual()
    written = texts(draw_network(network))
    assert "residual: 3 layers, 856 weights, 54,784 multiply-adds (drawn as areas)" in written
    assert "conv 3x3 | shortcut 1x1" in written
    assert "1: all bits, shortcut beside the last convolution of the outermost module" in written
    assert written.count("1") == 2


def test_areas_grow_with_multiply_adds():
    """The largest layer has the largest marker, and equal layers equal ones."""
    network = read_network(resnet18(), (torch.zeros(1, 3, 64, 64),), "resnet18", ties=())
    (axis,) = draw_network(network).axes
    drawn = [c for c in axis.collections if len(c.get_offsets()) == 1]
    layers = [
        data["layer"] for _, data in skeleton(network.graph).nodes(data=True) if data["layer"]
    ]
    areas = sorted(c.get_sizes()[0] for c in drawn if c.get_facecolor()[0][:3].sum() < 2.9)
    macs = sorted(network.description[name].macs for name in layers)
    assert len(areas) == len(macs)
    for (a, b), (m, n) in zip(itertools.pairwise(areas), itertools.pairwise(macs), strict=True):
        assert (a < b) == (m < n)


def test_a_pyramid_is_drawn():
    """A network with several heads and a name that no font has is drawn all the same."""
    network = read_network(YoloLike(), ([torch.zeros(3, 64, 64)],), "yolo $x$ \n")
    figure = draw_network(TracedNetwork(network.description, network.graph))
    figure.draw_without_rendering()
    assert any("box" in text for text in texts(figure))
