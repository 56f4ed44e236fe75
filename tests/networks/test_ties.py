"""Rules of ties: who must agree, on which side, and why."""

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from bitwright.networks import TIE_RULES, read_network
from bitwright.networks.kinds import keeps_grid
from bitwright.problems.errors import InputError

from .architectures import YoloLike, resnet18

DATA = os.environ.get("BITWRIGHT_DATA")


class Pieces(nn.Module):
    """A few layers, and a forward function that is given."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Conv2d(4, 4, 1) for _ in range(4))
        self.wide, self.bn = nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4)
        self.three, self.again = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def ties(forward, *rules):
    network = read_network(Pieces(forward), (torch.zeros(1, 4, 4, 4),), ties=rules).description
    return [(tie.layers, tie.side, tie.reason) for tie in network.ties]


ADDED = "added in the outermost module"


@pytest.mark.parametrize(
    ("forward", "tied"),
    [
        (lambda m, x: m.b(m.a(x) + x), [("a", "b")]),
        (lambda m, x: m.b((m.a(x) + x).relu().flatten(2).unflatten(2, (4, 4))), [("a", "b")]),
        (lambda m, x: m.b(m.bn(m.a(x) + x)), []),
        (lambda m, x: m.b(torch.sigmoid(m.a(x) + x)), []),
        (lambda m, x: m.b(m.a(x) + 1), []),
        (lambda m, x: m.b(m.a(x) + m.bn.weight[:, None, None]), []),
        (lambda m, x: m.b((y := m.a(x)) + m.c(y)), [("c", "b")]),
        (lambda m, x: m.d(m.c(y := m.b(m.a(x) + x)) + y), [("a", "b"), ("c", "d")]),
        (lambda m, x: m.d(m.c(y := m.a(x) + x) + y), [("a", "c", "d")]),
        (lambda m, x: m.b(m.a(x) - x), [("a", "b")]),
        (lambda m, x: m.b(m.a(x) * x), []),
    ],
    ids=[
        *("identity", "handed on", "batch norm between", "another function between", "a number"),
        *("a Parameter", "operand read", "two additions", "a chain", "difference", "product"),
    ],
)
def test_readers_of_what_is_added_share_activation_bits(forward, tied):
    """Operands and sum live on one grid: layers that read any of them, as it is, are tied."""
    assert ties(forward, "addition") == [(layers, "activation", ADDED) for layers in tied]


@pytest.mark.parametrize(
    ("forward", "tied"),
    [
        (lambda m, x: m.wide(torch.cat([m.a(x), x], 1)), [("a", "wide")]),
        (lambda m, x: m.wide(torch.cat([m.a(x), y := m.b(x)], 1)) + m.c(y), [("c", "wide")]),
        (lambda m, x: m.wide(torch.cat([x, x * 0], 1).sin()), []),
    ],
    ids=["with the input", "operand read", "another function between"],
)
def test_readers_of_what_is_concatenated_share_activation_bits(forward, tied):
    """Parts and whole live on one grid."""
    found = [(set(layers), side, reason) for layers, side, reason in ties(forward, "concatenation")]
    reason = "concatenated in the outermost module"
    assert found == [(set(layers), "activation", reason) for layers in tied]


def test_additions_and_concatenations_are_followed_together():
    """A sum that is concatenated at once hands its grid on, though no layer reads it between."""

    def forward(m, x):
        return m.wide(torch.cat([m.a(x) + x, m.b(m.c(x))], 1))

    (tie,) = ties(forward, "addition", "concatenation")
    assert set(tie[0]) == {"a", "c", "wide"}
    assert tie[2] == f"{ADDED}; concatenated in the outermost module"
    assert [set(layers) for layers, *_ in ties(forward, "addition")] == [{"a", "c"}]


def test_only_the_nearest_neighbour_hands_values_on():
    """Bilinear resizing invents values, the nearest neighbour none."""
    assert keeps_grid("interpolate")
    assert keeps_grid("Upsample", "nearest-exact")
    assert not keeps_grid("interpolate", "bilinear")


def test_blocks_are_named():
    """In a residual network the reason names the blocks; a stage shares the bits of its stream."""
    network = read_network(resnet18(), (torch.zeros(1, 3, 64, 64),), ties=("addition",)).description
    assert [(tie.layers, tie.reason) for tie in network.ties] == [
        (("4.conv1", "5.conv1", "6.downsample.0", "6.conv1"), "added in 4, 5"),
        (("7.conv1", "8.downsample.0", "8.conv1"), "added in 6, 7"),
        (("9.conv1", "10.downsample.0", "10.conv1"), "added in 8, 9"),
    ]


def test_a_pyramid_of_split_blocks():
    """In a YOLO-like network what is split, added and concatenated is tied block by block."""
    rules = ("addition", "concatenation")
    network = read_network(YoloLike(), ([torch.zeros(3, 64, 64)],), ties=rules).description
    assert [(tie.layers, tie.reason) for tie in network.ties][:1] == [
        (
            ("stages.0.1.inner.0", "stages.0.1.last.0"),
            "added in stages.0.1; concatenated in stages.0.1",
        )
    ]
    (merged,) = (tie for tie in network.ties if "merge.1.0" in tie.layers)
    assert set(merged.layers) == {"merge.1.0", "box", "label"}


def block(m, x):
    return m.again(m.three(x)) + m.a(x)


@pytest.mark.parametrize(
    ("rule", "forward", "tied"),
    [
        ("hawq_v3", block, [("three", "a")]),
        ("ompq", block, [("again", "a")]),
        ("hawq_v3", lambda m, x: m.bn(m.a(x)) + m.three(x.relu()), []),
        ("ompq", lambda m, x: m.bn(m.a(x)) + m.three(x.relu()), [("three", "a")]),
        ("ompq", lambda m, x: m.again(m.three(x)) + x, []),
        ("ompq", lambda m, x: m.again(x) + m.three(x), []),
        ("hawq_v3", lambda m, x: m.c(m.b(x)) + m.a(x), [("b", "a")]),
        ("ompq", lambda m, x: m.c(m.b(x)) + m.a(x), [("c", "a")]),
    ],
    ids=[
        *(
            "first of the block",
            "last of the block",
            "block reads another tensor",
            "last after ReLU",
        ),
        *("identity", "no 1x1", "bottleneck, first", "bottleneck, last"),
    ],
)
def test_shortcut_convolutions(rule, forward, tied):
    """A 1x1 convolution beside a block chooses as one of its convolutions, on all sides."""
    which = "first" if rule == "hawq_v3" else "last"
    reason = f"shortcut beside the {which} convolution of the outermost module"
    assert ties(forward, rule) == [(layers, "all", reason) for layers in tied]


@pytest.mark.skipif(
    not (Path(DATA or "") / "hawq_resnet18.json").is_file(),
    reason="BITWRIGHT_DATA has no HAWQ data",
)
def test_hawq_ties_resnet18_so():
    """The ties of HAWQ-V3's published ResNet18 are those that the rule finds."""
    published = json.loads((Path(str(DATA)) / "hawq_resnet18.json").read_text(encoding="utf-8"))
    names = {layer["index"]: layer["name"] for layer in published["layers"]}
    theirs = [{names[i].split(".", 1)[1] for i in tied} for tied in published["tied_layers"]]
    network = read_network(resnet18(), (torch.zeros(1, 3, 64, 64),), ties=("hawq_v3",)).description
    ours = [{name.split(".", 1)[1] for name in tie.layers} for tie in network.ties]
    assert [{f"unit1.{n.removesuffix('.0')}" for n in tied} for tied in ours] == theirs
    assert {tie.side for tie in network.ties} == {"all"}


def test_rules_are_those_asked_for():
    """No rule, no ties; an unknown one is refused with the nearest name."""
    model, inputs = resnet18(), (torch.zeros(1, 3, 64, 64),)
    assert read_network(model, inputs, ties=()).description.ties == ()
    with pytest.raises(
        InputError, match="unknown rule of ties 'additions'; did you mean 'addition'"
    ):
        read_network(model, inputs, ties=("additions",))
    assert set(TIE_RULES) == {
        *("shared_input", "shared_weight", "addition", "concatenation", "hawq_v3", "ompq"),
    }
