"""Bytes that memories move, against a schedule carried out tile by tile."""

import itertools
import random

import pytest

from bitwright.cost_models.roofline.traffic import Footprint, bytes_moved
from bitwright.problems import LayerDescription, Precision

from .devices import memory


def passes(kept, again, once, room):
    """Bytes moved by a loop over tiles of `kept`: each once, `again` for every tile, `once` in shares."""
    moved, left = once, kept
    while left > 0:
        moved += min(left, room) + again
        left -= room
    return moved


def best_schedule(weights, inputs, outputs, room):
    """The least traffic of the four loops: tiles of weights, of input, and of output either way round."""
    return min(
        passes(weights, again=inputs, once=outputs, room=room),
        passes(inputs, again=weights, once=outputs, room=room),
        passes(outputs, again=inputs, once=weights, room=room),  # tiles are output channels
        passes(outputs, again=weights, once=inputs, room=room),  # tiles are places of the output
    )


def test_tiles_are_those_of_the_best_schedule():
    """What comes from the farther memory is what the best of all loops moves."""
    dice = random.Random(5)
    tiled = 0
    for _ in range(400):
        weights, inputs, outputs, room = (dice.randint(1, 60) for _ in range(4))
        memories = [memory("buffer", size=room), memory("DRAM")]
        if inputs + outputs <= room:
            continue
        near, far = bytes_moved(Footprint(weights, inputs, outputs), memories)
        assert near == weights + inputs + outputs
        assert far == best_schedule(weights, inputs, outputs, room)
        tiled += far > near
    assert tiled > 50


def test_groups_run_one_after_the_other():
    """Four groups move what four layers of a quarter each do."""
    memories = [memory("buffer", size=10), memory("DRAM")]
    quarter = best_schedule(70, 30, 20, 10)
    assert quarter > 70 + 30 + 20
    assert bytes_moved(Footprint(280, 120, 80, groups=4), memories)[1] == 4 * quarter


def convolution(inputs, outputs, kernel, side, before, *, groups=1, batch):
    """A convolution of one of the networks that Eyeriss was measured on."""
    weights = inputs // groups * outputs * kernel**2
    return LayerDescription(
        f"{inputs}-{outputs}-{side}", "Conv2d", weights, weights * side**2 * batch,
        (batch, inputs, before, before), (batch, outputs, side, side), groups=groups,
    )  # fmt: skip


ALEXNET = [
    convolution(3, 96, 11, 55, 227, batch=4),
    convolution(96, 256, 5, 27, 27, groups=2, batch=4),
    convolution(256, 384, 3, 13, 13, batch=4),
    convolution(384, 384, 3, 13, 13, groups=2, batch=4),
    convolution(384, 256, 3, 13, 13, groups=2, batch=4),
]
_BLOCKS = (
    (224, (3, 64, 64)), (112, (64, 128, 128)), (56, (128, 256, 256, 256)), (28, (256, 512, 512, 512)),
    (14, (512, 512, 512, 512)),
)  # fmt: skip
VGG16 = [
    convolution(a, b, 3, side, side, batch=3)
    for side, widths in _BLOCKS
    for a, b in itertools.pairwise(widths)
]


@pytest.mark.parametrize(("layers", "published"), [(ALEXNET, 0.0029), (VGG16, 0.0035)])
def test_traffic_is_near_what_eyeriss_measured(layers, published):
    """Accesses of DRAM per multiply-add, with 108 kB in between (Chen et al., JSSC 2017, abstract).

    The chip's figures are lower for it stores runs of zeros compressed; tiles of weights or of inputs
    alone would move nearly twice as much.
    """
    memories = [memory("buffer", size=108 * 1024), memory("DRAM")]
    words = sum(bytes_moved(Footprint.of(x, Precision(16, 16)), memories)[1] / 2 for x in layers)
    assert published < words / sum(layer.macs for layer in layers) < 1.4 * published


def test_activations_that_fit_stay():
    """Where the nearer memory holds input and output, only the weights come from the farther one."""
    memories = [memory("SRAM", size=30), memory("flash", size=1000)]
    assert bytes_moved(Footprint(500, 20, 10), memories) == (530, 500)
    assert bytes_moved(Footprint(500, 20, 11), memories)[1] > 500


def test_one_memory_reads_everything_once():
    """With nothing in between, weights, input and output move once, whatever the sizes."""
    for weights, inputs, outputs in itertools.product((1, 50), repeat=3):
        moved = bytes_moved(Footprint(weights, inputs, outputs), [memory("DRAM", size=10)])
        assert moved == (weights + inputs + outputs,)


def test_more_room_never_moves_more():
    """The traffic of the farther memory falls, or stays, as the nearer one grows."""
    footprint = Footprint(700, 300, 200)
    far = [
        bytes_moved(footprint, [memory("buffer", size=room), memory("DRAM")])[1]
        for room in range(0, 900, 7)
    ]
    assert far == sorted(far, reverse=True)
    assert far[-1] == footprint.weights


@pytest.mark.parametrize(
    ("label", "bytes_of"),
    [("w4a8", (5, 12, 8)), ("w8a8", (9, 12, 8)), ("w3a4", (4, 6, 4)), ("w32a32", (36, 48, 32))],
)
def test_footprints(label, bytes_of):
    """Weights at their bits, both activations at those of the input, filled up to whole bytes."""
    layer = LayerDescription("c", "Conv2d", 9, 99, (1, 3, 2, 2), (1, 2, 2, 2))
    footprint = Footprint.of(layer, Precision.parse(label))
    assert (footprint.weights, footprint.input, footprint.output) == bytes_of


def test_factors_count_as_they_are():
    """The weights of `svd-2` are those of both factors: 2 (30 + 20) instead of 30 x 20."""
    layer = LayerDescription("fc", "Linear", 600, 600, (1, 20), (1, 30))
    assert Footprint.of(layer, Precision.parse("w8a8-svd-2")).weights == 100
