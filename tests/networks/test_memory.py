"""What is in memory when, by hand; `tests/cost_models` holds peaks to a simulation of the memory."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network, read_onnx

from .architectures import Residual
from .test_onnx_reading import exported

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # torch's classic exporter says that it is old
    "ignore::torch.jit.TracerWarning",
)


class Pieces(nn.Module):
    """A few modules, and a forward function that is given."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm, self.relu, self.drop = nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout()
        self.shift = nn.Parameter(torch.zeros(1, 4, 1, 1))
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def lives(forward, shape=(1, 4, 2, 2)):
    """Elements, makers, readers and steps of each tensor, in short."""
    described = read_network(Pieces(forward).eval(), (torch.zeros(shape),)).description
    return [(t.elements, "".join(t.makers), "".join(t.readers), t.steps) for t in described.tensors]


CONVOLUTION = [(16, "", "a", (0, 1)), (16, "a", "", (1, 1))]
TWO = [(16, "", "a", (0, 1)), (16, "a", "b", (1, 2)), (16, "b", "", (2, 2))]


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda m, x: m.a(x), CONVOLUTION),
        (lambda m, x: m.relu(m.norm(m.a(x))), CONVOLUTION),
        (lambda m, x: m.drop(F.relu(m.a(x), inplace=True)).flatten(1).unsqueeze(0), CONVOLUTION),
        (lambda m, x: F.hardswish(F.batch_norm(m.a(x), torch.zeros(4), torch.ones(4))), CONVOLUTION),
        (lambda m, x: m.b(F.relu(m.a(x))), TWO),
        (lambda m, x: m.b(F.gelu(m.a(x).permute(0, 1, 3, 2))), TWO),
        (
            lambda m, x: [F.relu(y := m.a(x)), y],
            [(16, "", "a", (0, 1)), (16, "a", "", (1, 2)), (16, "a", "", (2, 2))],
        ),
        (
            lambda m, x: m.a(F.relu(x)),  # the caller's tensor is not written over
            [(16, "", "a", (0, 1)), (16, "", "a", (1, 2)), (16, "a", "", (2, 2))],
        ),
        (
            lambda m, x: m.b(y := m.a(x)) + y,
            [(16, "", "a", (0, 1)), (16, "a", "b", (1, 3)), (16, "b", "", (2, 3)), (16, "ab", "", (3, 3))],
        ),
        (
            lambda m, x: m.b(y := m.a(x)).add_(y),
            [(16, "", "a", (0, 1)), (16, "a", "b", (1, 3)), (16, "ab", "", (2, 3))],
        ),
        (
            lambda m, x: torch.cat([m.a(x), m.shift.expand(1, 4, 2, 2)], 1),
            [(16, "", "a", (0, 1)), (16, "a", "", (1, 2)), (32, "a", "", (2, 2))],
        ),
        (
            lambda m, x: m.a(x.chunk(2, 3)[0]),
            [(16, "", "a", (0, 1)), (8, "a", "", (1, 1))],
        ),
        (lambda m, x: [m.a(x), x[:, :0]], [(16, "", "a", (0, 1)), (16, "a", "", (1, 1))]),
        (
            lambda m, x: m.a(x) + m.b(m.a(x)),
            [(16, "", "a", (0, 2)), (16, "a", "", (1, 4)), (16, "a", "b", (2, 3)), (16, "b", "", (3, 4)),
             (16, "ab", "", (4, 4))],
        ),
    ],
    ids=[
        *("alone", "norm and activation", "in place and views", "functions", "between layers"),
        *("activation of a view", "read twice", "activation of the input", "addition"),
        *("addition in place", "a constant", "a part", "no elements", "called twice"),
    ],
)  # fmt: skip
def test_lives_by_hand(forward, expected):
    """Norms, activations, views and constants are no tensors; inputs are there from the beginning."""
    assert lives(forward) == expected


def renamed(name):
    return name.strip("/").rpartition("/")[0]


def test_a_file_tells_what_its_model_tells(tmp_path):
    """An exported network without writing in place has the same tensors and links as the model."""
    model, inputs = Residual().eval(), (torch.randn(1, 3, 8, 8),)
    ours = read_network(model, inputs).description
    theirs = read_onnx(exported(model, inputs, tmp_path)).description

    def facts(description, name):
        links = {(name(x.source), name(x.target), x.elements) for x in description.links}
        tensors = [
            (t.elements, {*map(name, t.makers)}, {*map(name, t.readers)}, t.steps)
            for t in description.tensors
        ]
        return links, tensors

    assert facts(theirs, renamed) == facts(ours, str)
