"""ONNX files against the PyTorch models that they were exported from, and by hand."""

import os
from pathlib import Path

import networkx as nx
import pytest
import torch
from torch import nn

from bitwright.networks import read_network, read_onnx
from bitwright.problems.errors import InputError

from .architectures import Residual, SeveralOutputs, SharedModule, resnet18

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402 - only where onnx is installed

DATA = os.environ.get("BITWRIGHT_DATA")
FASTEST_DET = Path(DATA or "") / "fastestdet_coco" / "fastestdet_coco.onnx"


def exported(model, inputs, folder, **options):
    """A file as torch's classic exporter writes it, nothing folded."""
    path = folder / "model.onnx"
    torch.onnx.export(
        model.eval(), inputs, str(path), dynamo=False, do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE, **options,
    )  # fmt: skip
    return path


def mixed():
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, groups=2),
        nn.BatchNorm2d(6),
        nn.ReLU6(),
        nn.ConvTranspose2d(6, 8, (3, 2), stride=2, groups=2),
        nn.Flatten(2),
        nn.Linear(110, 5),
        nn.GELU(),
        nn.Flatten(1),
        nn.Linear(40, 3),
    )


MODELS = {
    "residual": (Residual, (1, 3, 8, 8)),
    "mixed": (mixed, (2, 4, 11, 11)),
    "resnet18": (resnet18, (1, 3, 64, 64)),
    "transformer block": (
        lambda: nn.Sequential(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)),
        (2, 5, 16),
    ),
}
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # torch's classic exporter says that it is old
    "ignore::torch.jit.TracerWarning",
)


@pytest.mark.parametrize("name", MODELS)
def test_a_file_tells_what_its_model_tells(name, tmp_path):
    """Layers, shapes, weights, multiply-adds and sizes are those read from the model itself."""
    build, shape = MODELS[name]
    model, inputs = build(), (torch.randn(shape),)
    ours = read_network(model, inputs).description
    theirs = read_onnx(exported(model, inputs, tmp_path)).description
    assert (theirs.macs, theirs.parameters) == (ours.macs, ours.parameters)
    if name == "transformer block":  # its products are nodes of their own there
        return

    def facts(layer):
        return (
            *(layer.kind, layer.parameters, layer.macs, layer.output_shape),
            *(layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.groups),
        )

    assert sorted(map(facts, theirs)) == sorted(map(facts, ours))


def test_nodes_bear_the_names_of_the_file(tmp_path):
    """Layers, fused nodes and reasons of ties are named as in the file; the graph leads through."""
    path = exported(Residual(), (torch.zeros(1, 3, 8, 8),), tmp_path)
    network = read_onnx(path, ties=("shared_input", "addition"))
    assert network.description.names == ("/stem/Conv", "/conv/Conv", "/shortcut/Conv")
    assert network.description["/conv/Conv"].fused == ("/bn/BatchNormalization", "/relu/Relu")
    assert [(set(t.layers), t.reason) for t in network.description.ties] == [
        ({"/conv/Conv", "/shortcut/Conv"}, "read the same tensor"),
    ]
    graph = network.graph
    kinds = [kind for _, kind in graph.nodes(data="kind")]
    assert kinds[0] == "input"
    assert kinds[-1] == "output"
    assert "add" in kinds
    assert nx.has_path(graph, 0, len(graph) - 1)
    assert all(a < b for a, b in graph.edges)


def test_a_weight_that_nodes_share_ties_them(tmp_path):
    """A module called twice is two nodes with one weight: counted once, tied on all sides."""
    path = exported(SharedModule(), (torch.zeros(1, 4, 9, 9),), tmp_path)
    network = read_onnx(path).description
    first, second = network
    assert (first.parameters, second.parameters) == (4 * 5 * 9, 0)
    assert [(t.layers, t.side) for t in network.ties] == [(network.names, "all")]


def saved(folder, nodes, weights, shape, **model_options):
    """A hand-written file with one input `x` and the last node's output."""
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [
            helper.make_tensor(n, TensorProto.FLOAT, s, [0.5] * torch.Size(s).numel())
            for n, s in weights.items()
        ],
    )
    path = folder / "hand.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


def test_a_weight_behind_other_nodes_is_a_weight(tmp_path):
    """A transposed initializer is the weight of the product that reads it; a shape is none."""
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["y"], name="project"),
        helper.make_node("Transpose", ["y"], ["z"], perm=[1, 0]),
        helper.make_node("MatMul", ["z", "y"], ["out"], name="product"),
    ]
    path = saved(tmp_path, nodes, {"w": (3, 4)}, [5, 4])
    project, product = read_onnx(path).description
    assert (project.kind, project.parameters, project.macs) == ("Linear", 12, 5 * 4 * 3)
    assert (product.kind, product.parameters, product.macs) == ("MatMul", 0, 3 * 5 * 3)
    assert (project.quantizable, product.quantizable) == (True, False)


def test_open_shapes_are_asked_for(tmp_path):
    """A file with a dynamic batch needs a shape; what is given sets the multiply-adds."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")]
    path = saved(tmp_path, nodes, {"w": (4, 3)}, ["batch", 4])
    with pytest.raises(
        InputError, match=r"input 'x' leaves its shape open, \['batch', 4\]; give one"
    ):
        read_onnx(path)
    assert read_onnx(path, [(7, 4)]).description.macs == 7 * 4 * 3
    with pytest.raises(InputError, match=r"input 'x' has 2 dimensions, got \[1, 2, 3\]"):
        read_onnx(path, [(1, 2, 3)])
    with pytest.raises(InputError, match="has 1 inputs, got 2 shapes"):
        read_onnx(path, [(1, 4), (1, 4)])


def test_what_is_no_float_network_is_refused(tmp_path):
    """Quantized files, other files and missing ones are named in one line."""
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s"], ["y"], name="dq"),
        helper.make_node("MatMul", ["y", "w"], ["z"]),
    ]
    path = saved(tmp_path, nodes, {"w": (4, 3), "s": (1,)}, [1, 4])
    with pytest.raises(
        InputError, match="node 'dq' is a DequantizeLinear; only networks in floating"
    ):
        read_onnx(path)
    (tmp_path / "text.onnx").write_text("hello", encoding="utf-8")
    with pytest.raises(InputError, match=r"text\.onnx: not an ONNX model"):
        read_onnx(tmp_path / "text.onnx")
    with pytest.raises(InputError, match=r"none\.onnx: there is no such file"):
        read_onnx(tmp_path / "none.onnx")


def test_several_outputs(tmp_path):
    """A model that returns several tensors has one output node that reads them all."""
    model = SeveralOutputs()

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            box, (label, left) = self.model({"x": x})
            return box, label, left

    network = read_onnx(exported(Wrapped(), (torch.zeros(1, 5, 6),), tmp_path))
    assert len(network.description) == 4
    assert network.graph.in_degree(len(network.graph) - 1) == 3


@pytest.mark.skipif(
    not FASTEST_DET.is_file(), reason="BITWRIGHT_DATA has no folder fastestdet_coco"
)
def test_fastest_det():
    """A published detector's file: its weights are the initializers of two dimensions or more."""
    network = read_onnx(FASTEST_DET).description
    convolutions = [n for n in onnx.load(str(FASTEST_DET)).graph.node if n.op_type == "Conv"]
    sizes = {t.name: torch.Size(t.dims) for t in onnx.load(str(FASTEST_DET)).graph.initializer}
    assert network.names == tuple(node.name for node in convolutions)
    assert network.parameters == sum(
        {n.input[1]: sizes[n.input[1]].numel() for n in convolutions}.values()
    )
    assert network[network.names[0]].macs == 176 * 176 * 24 * 27
