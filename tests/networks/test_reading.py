"""Layers, shapes and multiply-adds of networks, against torch's own flop counter."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.networks.tensors import tensors_in
from bitwright.problems.errors import InputError, MeasurementError
from bitwright.problems.network import FunctionCall
from bitwright.problems.precision import FLOAT32, Precision

from .architectures import (
    CASES,
    Branching,
    FunctionalWeights,
    OwnAttention,
    Residual,
    SeveralOutputs,
    SharedModule,
    Translator,
    resnet18,
)
from .flops import flops

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_macs_are_half_the_flops_that_torch_counts(case):
    """The multiply-adds of every network are exactly half of torch's count of its flops."""
    model, inputs = case.build(), case.inputs()
    assert 2 * read_network(model, inputs, case.name).description.macs == flops(model, inputs)


@every_case
def test_parameters_are_the_weights_of_the_layers(case):
    """All layers together count every Parameter of two dimensions or more that the run uses, once."""
    model, inputs = case.build().eval(), case.inputs()
    with torch.enable_grad():
        used = [p for p in model.parameters() if p.ndim > 1]
        outputs = sum(t.sum() for t in tensors_in(model(*inputs)))
        gradients = torch.autograd.grad(outputs, used, allow_unused=True)
    weights = sum(p.numel() for p, g in zip(used, gradients, strict=True) if g is not None)
    assert read_network(model, inputs).description.parameters == weights


@every_case
def test_reading_does_not_change_the_outputs(case):
    """A model computes the same before and after it was read."""
    model, inputs = case.build().eval(), case.inputs()
    before = model(*inputs)
    read_network(model, inputs)
    torch.testing.assert_close(model(*inputs), before, rtol=0, atol=0)


def test_resnet18_has_the_published_size():
    """ResNet18 at 224 pixels has 11,678,912 weights and 1,814,073,344 multiply-adds (table)."""
    network = read_network(resnet18(), (torch.zeros(1, 3, 224, 224),), "resnet18").description
    assert (len(network), network.parameters, network.macs) == (21, 11_678_912, 1_814_073_344)
    assert network["5.conv1"].fused == ("5.bn1", "5.relu")
    assert network["6.conv2"].fused == ("6.bn2",)
    assert [tie.layers for tie in network.ties] == [
        (f"{block}.downsample.0", f"{block}.conv1") for block in (6, 8, 10)
    ]


def test_functional_calls_bear_the_names_of_their_parameters():
    """A weight that a function multiplies with is a layer; a product of Parameters has no name.

    Those whose weight is one Parameter as it is stored can be quantized; what is computed from
    Parameters cannot.
    """
    network = read_network(FunctionalWeights(), (torch.zeros(2, 3, 8, 8),)).description
    assert {layer.name: (layer.kind, layer.parameters, layer.macs) for layer in network} == {
        "kernel": ("Conv2d", 4 * 27, 2 * 4 * 27 * 16),
        "matmul": ("MatMul", 0, 4 * 2 * 4),  # of two Parameters: nothing of the run is in it
        "linear": ("Linear", 16, 2 * 4 * 4),  # with that product, which comes from both
        "table": ("Linear", 28, 2 * 4 * 7),
        "project": ("Linear", 30, 2 * 5 * 7),
    }
    assert network.quantizable_names == ("kernel", "table")
    assert network["kernel"].function == FunctionCall("", "kernel")
    assert network["table"].function == FunctionCall("", "table.weight")
    kernel = network["kernel"]
    assert (
        kernel.in_channels,
        kernel.out_channels,
        kernel.kernel,
        kernel.stride,
        kernel.groups,
    ) == (*(3, 4, (3, 3), (2, 2), 1),)


def test_products_of_activations_have_no_weights():
    """Attention's products are layers without parameters, named after the module.

    All but torch's `einsum`, whose operands have no fixed place, are known again by the function and
    how often the module called it before.
    """
    network = read_network(OwnAttention(), (torch.zeros(2, 5, 8),)).description
    products = {layer.name: layer for layer in network if layer.parameters == 0}
    assert {name: (p.kind, p.macs) for name, p in products.items()} == {
        **dict.fromkeys(("matmul", "matmul_1", "matmul_2", "matmul_3"), ("MatMul", 2 * 5 * 5 * 8)),
        "attention": ("Attention", 2 * 2 * 5 * 5 * 8),
    }
    known = {"matmul": "matmul", "matmul_1": "bmm", "matmul_3": "baddbmm"}
    known["attention"] = "scaled_dot_product_attention"
    assert {name: p.function for name, p in products.items() if p.quantizable} == {
        name: FunctionCall("", function=function) for name, function in known.items()
    }
    assert network["matmul_2"].candidates((Precision(8, 8),)) == (FLOAT32,)


def functional(*calls, weight=(3, 3)):
    """A network of calls in one forward, each given the module and what the one before made."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(weight))
            self.lin, self.v = nn.Linear(3, 3), nn.Parameter(torch.randn(3, 3))

        def forward(self, x):
            for call in calls:
                x = call(self, x)
            return x

    return Net()


@pytest.mark.parametrize(
    ("call", "axis"),
    [
        (lambda m, x: F.linear(x, m.w), 0),
        (lambda m, x: x @ m.w, 1),
        (lambda m, x: x @ m.w.T, 0),
        (lambda m, x: torch.addmm(x, x, m.w), 1),
        (lambda m, x: F.linear(x, m.w[:2]), 0),
        (lambda m, x: F.linear(x, m.w * 2), None),
        (lambda m, x: F.linear(x, m.w @ m.v), None),
        (lambda m, x: m.w @ x, None),
        (lambda m, x: torch.einsum("ij,jk->ik", x, m.w), None),
    ],
)
def test_the_axis_of_output_channels_is_that_of_the_parameter(call, axis):
    """Transposed, cut or whole; a weight that is computed, or stands on the left, has none."""
    layer = read_network(functional(call), (torch.randn(3, 3),)).description.layers[-1]
    assert (layer.function.channel_axis if layer.function else None) == axis
    assert layer.quantizable == (axis is not None)


@pytest.mark.parametrize(
    "calls",
    [
        (lambda m, x: F.linear(x, m.w), lambda m, x: x @ m.w),  # two axes of one Parameter
        (lambda m, x: F.linear(x, m.lin.weight), lambda m, x: m.lin(x)),  # a module has it too
    ],
)
def test_what_is_not_known_again_stays_in_float32(calls):
    """Calls of one layer that differ cannot be told apart by its description."""
    layers = read_network(functional(*calls), (torch.randn(3, 3),)).description
    assert layers.quantizable_names == ()


def test_functions_where_no_quantizer_can_be_put_stay_in_float32():
    """A container runs what is put into it, and a replaced forward is not the class's."""

    class Squared(nn.Sequential):
        def forward(self, x):
            x = super().forward(x)
            return x @ x

    x = (torch.randn(3, 3),)
    assert read_network(Squared(nn.Linear(3, 3)), x).description.quantizable_names == ("0",)
    model = functional(lambda m, x: m.lin(x) @ m.w)
    assert read_network(model, x).description.quantizable_names == ("lin", "w")
    model.forward = model.forward
    assert read_network(model, x).description.quantizable_names == ("lin",)


def test_products_that_change_places_stay_in_float32():
    """Where a module's second run calls a function more often, its products have no fixed number."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = functional(lambda m, x: x @ m.w if x.sum() > 0 else x, lambda m, x: x @ x)

        def forward(self, x):
            return self.inner(self.inner(x) * 0)

    network = read_network(Twice(), (torch.ones(3, 3),)).description
    assert (network.quantizable_names, network.names) == (("inner.w",), ("inner.w", "inner.matmul"))


def test_multi_head_attention_is_read_by_its_parameters():
    """Where keys are not queries, parts of one projection are calls of one layer."""
    network = read_network(Translator(), (torch.zeros(2, 5, 16),)).description
    attention = "body.decoder.layers.0.multihead_attn"
    assert network[f"{attention}.in_proj_weight"].parameters == 3 * 16 * 16
    assert network[f"{attention}.in_proj_weight"].macs == 2 * 16 * 16 * (3 + 5 + 5)
    assert network[f"{attention}.attention"].macs == 2 * 2 * 3 * 5 * 16
    assert network[f"{attention}.out_proj"].parameters == 16 * 16


def test_a_shared_parameter_is_counted_once():
    """Two modules with one Parameter are two layers tied on all sides; the first counts it."""
    network = read_network(Translator(), (torch.zeros(2, 5, 16),)).description
    assert (network["into"].parameters, network["out"].parameters) == (256, 0)
    assert network["out"].macs == 2 * 3 * 256
    (tie,) = [tie for tie in network.ties if tie.side == "all"]
    assert (tie.layers, tie.reason) == (("into", "out"), "share the Parameter into.weight")


def test_what_shares_a_weight_with_a_functional_call_stays_in_float32():
    """A module's weight that a function uses too cannot be replaced for the module alone."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(3, 3) for _ in range(3))
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.c(self.b(F.linear(x, self.a.weight)))

    assert read_network(Tied(), (torch.zeros(1, 3),)).description.quantizable_names == ("c",)


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_recurrent_modules_are_layers_in_float32(kind, gates):
    """Every step takes all weights of the module once."""

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = kind(4, 8, bidirectional=True, batch_first=True), nn.Linear(16, 3)

        def forward(self, x):
            return self.out(self.rnn(x)[0])

    rnn, _ = read_network(Reader(), (torch.zeros(2, 5, 4),)).description
    weights = 2 * gates * (4 * 8 + 8 * 8)
    assert (rnn.name, rnn.kind, rnn.quantizable) == ("rnn", kind.__name__, False)
    assert (rnn.parameters, rnn.macs) == (weights, 2 * 5 * weights)


def test_computed_weights_are_those_of_the_layer():
    """A weight norm's layer counts the weight that it computes with."""
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 6))
    (described,) = read_network(nn.Sequential(layer), (torch.zeros(1, 4),)).description
    assert (described.kind, described.parameters, described.macs) == ("Linear", 24, 24)


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (nn.Conv2d(4, 6, (3, 1), stride=2, groups=2), (4, 6, (3, 1), (2, 2), 2)),
        (nn.ConvTranspose2d(4, 6, 3, stride=(1, 2), groups=2), (4, 6, (3, 3), (1, 2), 2)),
        (nn.Conv1d(4, 5, 3, stride=3), (4, 5, (3,), (3,), 1)),
        (nn.Linear(7, 5), (7, 5, (), (), 1)),
    ],
    ids=["grouped", "transposed", "1-d", "linear"],
)
@pytest.mark.parametrize("functional", [False, True], ids=["module", "function"])
def test_sizes_are_those_that_cost_tables_are_keyed_by(layer, sizes, functional):
    """Channels, kernel, stride and groups are the layer's, called as a module or as a function."""

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(layer.weight.detach())

        def forward(self, x):
            if isinstance(layer, nn.Linear):
                return F.linear(x, self.weight)
            name = type(layer).__name__.lower().replace("transpose", "_transpose")
            return getattr(F, name)(x, self.weight, stride=layer.stride, groups=layer.groups)

    shape = {"Conv1d": (1, 4, 9), "Linear": (1, 7)}.get(type(layer).__name__, (1, 4, 9, 9))
    model = Functional() if functional else nn.Sequential(layer)
    (found,) = read_network(model, (torch.zeros(shape),)).description
    assert sizes == (
        *(found.in_channels, found.out_channels, found.kernel, found.stride, found.groups),
    )
    assert found.kind == type(layer).__name__


def test_shapes_are_those_of_the_first_call():
    """Shapes include the batch and are those of the first call of a shared module."""
    network = read_network(SharedModule(), (torch.zeros(2, 4, 9, 9),)).description
    (head,) = network
    assert (head.kind, head.input_shape, head.output_shape) == (
        "Conv2d",
        (2, 4, 9, 9),
        (2, 5, 7, 7),
    )


def test_macs_grow_with_the_batch():
    """Multiply-adds are those of the inputs given, batch included."""
    one, three = (
        read_network(Residual(), (torch.zeros(n, 3, 8, 8),)).description.macs for n in (1, 3)
    )
    assert three == 3 * one


def test_layers_are_in_the_order_of_the_run():
    """Layers come in the order in which they first run, whatever the order of construction."""

    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(4, 2), nn.Linear(3, 4)

        def forward(self, x):
            return self.last(self.first(x))

    assert read_network(Backwards(), (torch.zeros(1, 3),)).description.names == ("first", "last")


def test_layers_that_do_not_run_are_not_described():
    """Of two branches only the one that the inputs take is described."""
    names = read_network(Branching(), (torch.zeros(1, 3, 11, 9),)).description.names
    assert names == ("narrow",)


def test_a_layer_may_fail_inside_a_model_that_goes_on():
    """A call that the model itself recovers from counts nothing."""

    class Recovering(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(5, 2)

        def forward(self, x):
            try:
                return self.a(x)
            except RuntimeError:
                return self.b(x)

    network = read_network(Recovering(), (torch.zeros(1, 5),)).description
    assert (network.names, network.macs) == (("b",), 10)


def state_of(model):
    """Everything that reading might leave behind on a model."""
    return [
        (
            name,
            module.training,
            type(module),
            list(module._buffers.items()),
            {key: value for key, value in vars(module).items() if "hooks" in key},
            list(vars(module)),
        )
        for name, module in model.named_modules()
    ]


class Counting(nn.Module):
    """A model that writes a buffer in place, replaces another, and can fail after that."""

    def __init__(self, fails):
        super().__init__()
        self.fails = fails
        self.body = Residual()
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        y = self.body(x)
        self.last = y.mean().reshape(1)
        if self.fails:
            raise ValueError("two\nlines")
        return y


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(fails):
    """Flags, buffers, parameters, hooks and attributes stay, also when the run fails."""
    model = Counting(fails).train()
    model.body.bn.eval()
    model.body.conv.weight.requires_grad_(False)
    before = state_of(model)
    values = copy.deepcopy(model.state_dict())
    if fails:
        with pytest.raises(MeasurementError):
            read_network(model, (torch.randn(1, 3, 8, 8),))
    else:
        read_network(model, (torch.randn(1, 3, 8, 8),))
    assert state_of(model) == before
    torch.testing.assert_close(dict(model.state_dict()), dict(values), rtol=0, atol=0)


def test_a_failing_run_is_reported_in_one_line():
    """The error names the network, the shapes of the inputs, and what torch said."""
    model = Counting(fails=True)
    message = (
        r"network 'n' cannot be run on inputs of shape \[\(1, 3, 8, 8\)\]: ValueError: two lines"
    )
    with pytest.raises(MeasurementError, match=f"^{message}$"):
        read_network(model, (torch.zeros(1, 3, 8, 8),), "n")


def test_a_network_without_layers_is_refused():
    """A model that computes with no weights is an input error."""
    with pytest.raises(InputError, match="'relu' has no layer that computes with weights"):
        read_network(nn.Sequential(nn.ReLU()), (torch.zeros(1),), "relu")


def test_a_bare_layer_is_refused():
    """A model that is a layer has no name to give it."""
    with pytest.raises(InputError, match="itself a layer without a name; wrap it"):
        read_network(nn.Linear(2, 2), (torch.zeros(1, 2),))


def test_a_traced_network_is_frozen():
    """What was read cannot be replaced."""
    network = read_network(SeveralOutputs(), ({"x": torch.zeros(1, 5, 6)},))
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.graph = None


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_scripted_modules_are_refused():
    """What runs outside Python cannot be followed; the error names it and says what to do."""
    scripted = torch.jit.script(nn.Linear(3, 4))
    with pytest.raises(InputError, match=r"module '1' is scripted, .* before torch\.jit\.script"):
        read_network(nn.Sequential(nn.ReLU(), scripted), (torch.zeros(1, 3),))
