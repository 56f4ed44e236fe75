"""Which layers feed which, by hand and against the graph."""

import math

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.networks.torchvision_import import import_torchvision
from bitwright.problems import Link


class Pieces(nn.Module):
    """A few modules, and a forward function that is given."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(4, 4, 1) for _ in range(3))
        self.wide = nn.Conv2d(8, 4, 1)
        self.norm, self.scale = nn.BatchNorm2d(4), nn.Parameter(torch.ones(1))
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def links(forward, shape=(1, 4, 4, 4)):
    model = Pieces(forward)
    return [
        (link.source, link.target, link.elements)
        for link in read_network(model, (torch.zeros(shape),)).description.links
    ]


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda m, x: m.b(m.a(x)), [("a", "b", 64)]),
        (lambda m, x: m.b(F.max_pool2d(F.relu(m.norm(m.a(x))), 2)), [("a", "b", 16)]),
        (lambda m, x: m.c(m.b(m.a(x))), [("a", "b", 64), ("b", "c", 64)]),
        (lambda m, x: m.c(m.a(x) + m.b(x)), [("a", "c", 64), ("b", "c", 64)]),
        (lambda m, x: m.c((y := m.a(x)) + m.b(y)), [("a", "b", 64), ("a", "c", 64), ("b", "c", 64)]),
        (lambda m, x: m.wide(torch.cat([m.a(x), m.b(x)], 1)), [("a", "wide", 128), ("b", "wide", 128)]),
        (lambda m, x: m.b(m.a(x)) + m.b(m.a(x)[:, :, :2]).mean(), [("a", "b", 64 + 32)]),
        (lambda m, x: m.a(m.a(x)), []),
        (lambda m, x: m.a(x) + m.b(x), []),
        (lambda m, x: m.b(m.a(x) * m.scale + m.c(x)[:, :, :0].sum()), [("a", "b", 64), ("c", "b", 64)]),
    ],
    ids=[
        *("directly", "norm, activation and pool", "no further than the next", "an addition"),
        *("a residual", "a concatenation", "called twice", "itself", "outputs", "parameters and parts"),
    ],
)  # fmt: skip
def test_links_by_hand(forward, expected):
    """The nearest layers upstream, through whatever is no layer, with the elements that are read."""
    assert sorted(links(forward)) == sorted(expected)


def test_both_operands_of_a_product_are_linked():
    """Attention reads queries, keys and values, each from a layer of its own."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.q(x) @ self.k(x).transpose(1, 2)

    found = read_network(Attention(), (torch.zeros(2, 3, 4),)).description.links
    assert set(found) == {Link("q", "matmul", 24), Link("k", "matmul", 24)}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "googlenet"])
def test_links_are_the_ways_of_the_graph(name):
    """A link stands for a way between two layers on which no other layer lies."""
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = import_torchvision().models.get_model(name, weights=None, **options)
    traced = read_network(model, (torch.zeros(1, 3, 64, 64),))
    graph, found = traced.graph, set()
    layer = nx.get_node_attributes(graph, "layer")
    nodes = [node for node in graph if layer[node] is not None]
    for node in nodes:
        others = set(graph) - set(nodes) | {node}
        reach = nx.descendants(graph.subgraph(others), node) | {node}
        ends = {reader for inner in reach for reader in graph.successors(inner)} & set(nodes)
        found |= {(layer[node], layer[end]) for end in ends}
    described = traced.description
    assert {(link.source, link.target) for link in described.links} == found
    for link in described.links:
        assert link.elements == math.prod(described[link.target].input_shape)
