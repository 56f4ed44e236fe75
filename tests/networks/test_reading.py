"""Layers, shapes and multiply-adds of networks, against torch's own flop counter."""

import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bitwright.networks import read_network
from bitwright.problems.errors import InputError, MeasurementError

from .architectures import CASES, Branching, Residual, SeveralOutputs, SharedModule, resnet18

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_macs_are_half_the_flops_that_torch_counts(case):
    """The multiply-adds of every network are exactly half of torch's count of its flops."""
    model, inputs = case.build().eval(), case.inputs()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    assert 2 * read_network(model, inputs, case.name).description.macs == counter.get_total_flops()


@every_case
def test_parameters_are_the_weights_of_the_layers(case):
    """Every layer counts the elements of its weight, without its bias."""
    model = case.build()
    for layer in read_network(model, case.inputs()).description:
        assert layer.parameters == dict(model.named_parameters())[f"{layer.name}.weight"].numel()


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
