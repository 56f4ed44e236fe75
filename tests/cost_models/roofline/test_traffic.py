"""Bytes that memories move, against a schedule carried out tile by tile."""

import itertools
import random

import pytest

from bitwright.cost_models.roofline.traffic import Footprint, bytes_moved
from bitwright.problems import LayerDescription, Precision

from .devices import memory


def carried_out(stays, streams, room):
    """Bytes read by a loop that keeps one tile of the one operand and streams the other past it."""
    read, left = 0, stays
    while left > 0 or read == 0:
        tile = min(left, room)
        read += tile + streams
        left -= tile
        if not stays:
            break
    return read


def test_tiles_are_those_of_the_better_schedule():
    """What comes from the farther memory is what the better of both loops reads, and the output."""
    dice = random.Random(5)
    for _ in range(300):
        weights, inputs, outputs, room = (dice.randint(1, 60) for _ in range(4))
        memories = [memory("buffer", size=room), memory("DRAM")]
        if inputs + outputs <= room:
            continue
        near, far = bytes_moved(Footprint(weights, inputs, outputs), memories)
        assert near == weights + inputs + outputs
        best = min(carried_out(weights, inputs, room), carried_out(inputs, weights, room))
        assert far == best + outputs


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
