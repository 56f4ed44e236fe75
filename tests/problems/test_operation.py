"""Operation keys: what each kind of layer has in the columns, checked against torch's own counting."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bitwright.networks import read_network
from bitwright.problems import InputError, LayerDescription
from bitwright.problems.operation import (
    OperationKey,
    operation_calls,
    operation_key,
    operation_keys,
)


class Calling(nn.Module):
    """A module that computes with another in a way of its own."""

    def __init__(self, call, inner=None):
        super().__init__()
        self.inner = inner or nn.Identity()
        self.call = call

    def forward(self, x):
        return self.call(self.inner, x)


def described(model, *shape):
    """The layers of a model that multiply, without those of attention's projections."""
    model = Calling(lambda inner, x: inner(x), model)
    return read_network(model, (torch.rand(*shape),)).description.layers


def products(_, x):
    return x @ x.transpose(1, 2)


def attention(_, x):
    return F.scaled_dot_product_attention(x[:, :, :5], x, x[..., :3])


def stated(op, *columns):
    return OperationKey(op, *columns)


KEYS = {
    "conv2d": (nn.Conv2d(3, 8, 3, 2), (2, 3, 9, 7), stated("Conv2d", 3, 8, 3, 3, 2, 1, 9, 7)),
    "one image without a batch": (
        nn.Conv2d(3, 8, 3),
        (3, 9, 7),
        stated("Conv2d", 3, 8, 3, 3, 1, 1, 9, 7),
    ),
    "grouped, kernel not square": (
        nn.Conv2d(4, 8, (3, 5), groups=2),
        (1, 4, 9, 9),
        stated("Conv2d", 4, 8, 3, 5, 1, 2, 9, 9),
    ),
    "depthwise": (
        nn.Conv2d(4, 4, 3, groups=4),
        (1, 4, 9, 9),
        stated("Conv2d", 4, 4, 3, 3, 1, 4, 9, 9),
    ),
    "conv1d": (nn.Conv1d(4, 6, 5, 2), (2, 4, 20), stated("Conv1d", 4, 6, 5, 1, 2, 1, 20, 1)),
    "transposed": (
        nn.ConvTranspose2d(4, 6, 2, 2, groups=2),
        (1, 4, 5, 3),
        stated("ConvTranspose2d", 4, 6, 2, 2, 2, 2, 5, 3),
    ),
    "linear on one vector": (nn.Linear(8, 5), (1, 8), stated("Linear", 8, 5, 1, 1, 1, 1, 1, 1)),
    "linear on tokens": (nn.Linear(8, 5), (2, 10, 8), stated("Linear", 8, 5, 1, 1, 1, 1, 20, 1)),
    "product of activations": (
        Calling(products),
        (2, 10, 4),
        stated("MatMul", 4, 10, 1, 1, 1, 2, 10, 1),
    ),
    "fused attention": (
        Calling(attention),
        (2, 3, 9, 8),
        stated("Attention", 8, 3, 1, 1, 1, 6, 5, 9),
    ),
}


def macs_of(key):
    """Multiply-adds by the columns alone, for operations without padding."""
    if key.op == "Attention":
        return key.groups * key.in_h * key.in_w * (key.in_channels + key.out_channels)
    if key.op == "MatMul":
        return key.groups * key.in_h * key.in_channels * key.out_channels
    weights = key.in_channels * key.out_channels // key.groups * key.kernel_h * key.kernel_w
    if key.op.startswith("ConvTranspose"):
        return weights * key.in_h * key.in_w
    rows = (key.in_h - key.kernel_h) // key.stride + 1
    return weights * rows * ((key.in_w - key.kernel_w) // key.stride + 1)


@pytest.mark.parametrize(("model", "shape", "key"), KEYS.values(), ids=KEYS)
def test_the_columns_say_what_is_computed(model, shape, key):
    """Each kind has the key that its row of the class's table says, called once."""
    (layer,) = described(model, *shape)
    assert operation_key(layer) == key
    assert operation_keys(layer) == (key,)
    assert operation_calls(layer) == 1


@pytest.mark.parametrize(("model", "shape", "key"), KEYS.values(), ids=KEYS)
def test_a_key_holds_all_multiply_adds(model, shape, key):
    """Multiply-adds follow from the columns and the batch alone, as torch's counter finds them."""
    if key.op == "Attention":  # torch's counter passes over fused attention on a CPU
        counted = 2 * sum(layer.macs for layer in described(model, *shape))
    else:
        with FlopCounterMode(display=False) as counter:
            model(torch.rand(*shape))
        counted = counter.get_total_flops()
    batch = shape[0] if "Conv" in key.op and len(shape) > 3 - ("1d" in key.op) else 1
    assert 2 * macs_of(key) * batch == counted


REFUSED = {
    "three dimensions": (
        nn.Conv3d(2, 4, 3),
        (1, 2, 6, 6, 6),
        "up to two kernel sizes and one stride",
    ),
    "two strides": (
        nn.Conv2d(2, 4, 3, (1, 2)),
        (1, 2, 9, 9),
        "one stride, got a kernel of .3, 3. with",
    ),
    "recurrent": (nn.LSTM(4, 8), (5, 1, 4), "its kind 'LSTM' has no operation key"),
}


@pytest.mark.parametrize(("model", "shape", "message"), REFUSED.values(), ids=REFUSED)
def test_what_the_columns_cannot_say_is_refused(model, shape, message):
    """A layer that the columns cannot tell from another is named, with the way out."""
    layer = described(model, *shape)[0]
    with pytest.raises(InputError, match=message) as caught:
        operation_key(layer)
    assert str(caught.value).startswith(f"layer {layer.name!r}: ")
    assert str(caught.value).endswith("give its cost in a table keyed by layer")


def test_calls_of_one_size_are_counted_and_others_refused():
    """A shared module called three times on one size counts three times; on other sizes it has no key."""
    thrice = Calling(lambda conv, x: conv(conv(conv(x))), nn.Conv2d(3, 3, 3, padding=1))
    (layer,) = described(thrice, 1, 3, 8, 8)
    assert operation_calls(layer) == 3
    smaller = Calling(lambda conv, x: (conv(x), conv(x[..., ::2, ::2])), nn.Conv2d(3, 3, 1))
    (layer,) = described(smaller, 1, 3, 8, 8)
    with pytest.raises(InputError, match="its 720 multiply-adds are no multiple of the 576 of its"):
        operation_calls(layer)


def test_the_activation_behind_a_layer_comes_first():
    """A batch norm changes no key; the activation's kind stands behind that of the layer."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Hardswish())
    (layer,) = described(model, 1, 3, 8, 8)
    assert layer.activation == "Hardswish"
    bare = OperationKey("Conv2d", 3, 4, 1, 1, 1, 1, 8, 8)
    assert operation_keys(layer) == (replace(bare, op="Conv2d+Hardswish"), bare)
    (layer,) = described(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), 1, 3, 8, 8)
    assert layer.activation == ""


def test_products_whose_operands_are_not_known_are_refused():
    """Shapes that are no two matrices, and a weight on the left, have no key."""
    with pytest.raises(InputError, match="do not say which matrices"):
        operation_key(LayerDescription("m", "MatMul", 0, 12, (3, 4), (5, 4)))
    with pytest.raises(InputError, match="do not say which matrices"):
        operation_key(LayerDescription("m", "MatMul", 9, 12, (3, 4), (3, 4)))
    with pytest.raises(InputError, match="do not say which matrices"):
        operation_key(LayerDescription("a", "Attention", 0, 7, (2, 3, 4), (2, 3, 4)))


@pytest.mark.parametrize("size", [0, -1, 2**31, True, 1.5, "3"])
def test_sizes_are_positive_integers(size):
    """No column takes a size that no layer has."""
    with pytest.raises(InputError, match="groups must be an integer from 1 to 2147483647"):
        OperationKey("Conv2d", 1, 1, 1, 1, 1, size, 1, 1)
    with pytest.raises(InputError, match="needs the kind of its layer"):
        OperationKey("", 1, 1, 1, 1, 1, 1, 1, 1)
