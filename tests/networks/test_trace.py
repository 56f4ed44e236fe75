"""The graph of operations: edges follow the data, whatever Python does with it."""

from dataclasses import dataclass

import networkx as nx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network

from .architectures import CASES, FunctionalGlue, SeveralOutputs


def graph_of(forward, *inputs, **layers):
    """Graph of a model with these layers and this forward function."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            for name, layer in layers.items():
                self.add_module(name, layer)

        def forward(self, *args):
            return forward(self, *args)

    return read_network(Model(), inputs).graph


def edges_by_name(graph):
    """Edges as pairs of module names, or of kinds where a node is no module."""
    names = {node: data["module"] or data["kind"] for node, data in graph.nodes(data=True)}
    return {(names[a], names[b]) for a, b in graph.edges}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_layer_lies_between_input_and_output(case):
    """Nodes are in topological order and every layer is on a path from the input to the output."""
    graph = read_network(case.build(), case.inputs()).graph
    assert all(a < b for a, b in graph.edges)
    first, last = 0, len(graph) - 1
    assert (graph.nodes[first]["kind"], graph.nodes[last]["kind"]) == ("input", "output")
    on_path = nx.descendants(graph, first) & nx.ancestors(graph, last)
    assert {n for n, data in graph.nodes(data=True) if data["module"]} <= on_path


def test_functional_calls_and_operators_are_nodes():
    """Functions, operators and in-place writes appear in the order of the data."""
    graph = read_network(FunctionalGlue(), (torch.zeros(1, 4, 21),)).graph
    kinds = [graph.nodes[node]["kind"] for node in graph]
    assert kinds == [
        *("input", "Conv1d", "Conv1d", "cat", "add", "setitem", "silu", "transpose"),
        *("Linear", "output"),
    ]
    assert nx.has_path(graph, kinds.index("setitem"), kinds.index("silu"))
    assert list(graph.successors(kinds.index("cat"))) == [kinds.index("add")]


def test_an_edge_says_which_outputs_it_carries():
    """Two consumers of one `chunk` read different outputs of it."""
    graph = read_network(SeveralOutputs(), ({"x": torch.zeros(1, 5, 6)},)).graph
    (chunk,) = (node for node, kind in graph.nodes(data="kind") if kind == "chunk")
    read = {
        graph.nodes[b]["module"]: data["outputs"] for _, b, data in graph.out_edges(chunk, True)
    }
    assert read == {"heads.box": (0,), "heads.label": (1,), None: (0,)}


def test_writing_through_a_view_reaches_the_whole_tensor():
    """What reads a tensor after a write through a view of it reads from that write."""

    def forward(model, x):
        y = model.a(x)
        y[:, :2].relu_()
        return model.b(y)

    graph = graph_of(forward, torch.zeros(1, 3), a=nn.Linear(3, 4), b=nn.Linear(4, 2))
    assert ("relu", "b") in edges_by_name(graph)


def test_an_inplace_module_takes_the_place_of_its_input():
    """After ReLU(inplace=True) the old name of the tensor leads to the ReLU."""

    def forward(model, x):
        y = model.a(x)
        model.relu(y)
        return model.b(y)

    graph = graph_of(
        forward,
        torch.zeros(1, 3),
        a=nn.Linear(3, 4),
        b=nn.Linear(4, 2),
        relu=nn.ReLU(inplace=True),
    )
    assert {("a", "relu"), ("relu", "b")} <= edges_by_name(graph)
    assert ("a", "b") not in edges_by_name(graph)


def test_a_tensor_has_no_past_of_one_that_is_gone():
    """What takes over the identity of a tensor that nobody holds any more comes from nowhere."""

    def forward(model, x):
        for _ in range(20):
            model.a(x)
        return model.b(torch.from_numpy(np.zeros((1, 3), dtype=np.float32)))

    graph = graph_of(forward, torch.zeros(1, 3), a=nn.Linear(3, 3), b=nn.Linear(3, 2))
    assert {edge for edge in edges_by_name(graph) if "b" in edge} == {("b", "output")}


def test_what_hands_its_input_on_is_no_node():
    """Identity, dropout in evaluation mode and `contiguous` leave no trace."""

    def forward(model, x):
        return model.b(model.drop(model.same(model.a(x))).contiguous())

    layers = {
        "a": nn.Linear(3, 4),
        "b": nn.Linear(4, 2),
        "drop": nn.Dropout(),
        "same": nn.Identity(),
    }
    graph = graph_of(forward, torch.zeros(1, 3), **layers)
    assert edges_by_name(graph) == {("input", "a"), ("a", "b"), ("b", "output")}


def test_outputs_are_found_in_dataclasses():
    """Tensors in a dataclass reach the output node."""

    @dataclass
    class Result:
        boxes: torch.Tensor
        note: str

    graph = graph_of(lambda m, x: Result(m.a(x), "n"), torch.zeros(1, 3), a=nn.Linear(3, 4))
    assert ("a", "output") in edges_by_name(graph)


def test_an_attention_block_is_traced_through():
    """A transformer layer shows all that it computes, which its fast path would hide."""
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network = read_network(nn.Sequential(block), (torch.zeros(1, 5, 8),))
    attention = [f"0.self_attn.{name}" for name in ("in_proj_weight", "attention", "out_proj")]
    assert network.description.names == (*attention, "0.linear1", "0.linear2")


def test_nodes_say_which_layer_and_where():
    """A node of a layer's call bears its name, also of a function; constants are told apart."""

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 3))

        def forward(self, x):
            return F.linear(x, self.weight.t())

    graph = graph_of(
        lambda m, x: m.b(m.inner(x)), torch.zeros(1, 3), inner=Inner(), b=nn.Linear(3, 2)
    )
    shown = [
        (d["kind"], d["module"], d["layer"], d["scope"], d["constant"])
        for _, d in graph.nodes(True)
    ]
    assert shown == [
        ("input", None, None, "", False),
        ("t", None, None, "inner", True),
        ("linear", None, "inner", "inner", False),
        ("Linear", "b", "b", "", False),
        ("output", None, None, "", False),
    ]


def test_the_model_may_run_in_inference_mode():
    """A forward under `torch.inference_mode` is traced as any other."""

    def forward(model, x):
        with torch.inference_mode():
            return F.relu(model.a(x)) + 1

    graph = graph_of(forward, torch.zeros(1, 3), a=nn.Linear(3, 4))
    assert {("input", "a"), ("a", "relu"), ("add", "output")} <= edges_by_name(graph)
