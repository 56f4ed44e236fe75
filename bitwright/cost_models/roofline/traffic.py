"""The bytes that every memory of a device delivers or takes for one run of a layer.

Layers run one after the other, weights come from the farthest memory at every run, and activations
lie in the nearest memory that holds the input and the output of the layer together. What comes from
a memory passes through the next nearer one. Where that one holds the weights, or the input, of the
layer, both are read once: one of them stays, the other streams past. Where it holds neither, the one
is cut into tiles that fit, each read once, and the other is read again for every tile; of the two
ways the one with less traffic is taken. An output is written once, and what lies nearest is read once
by the compute array. So a figure is a lower bound of what a real schedule moves, which is
what a roofline promises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from bitwright.problems import LayerDescription, Precision
from bitwright.problems.device import Memory
from bitwright.problems.storage import packed_bytes
from bitwright.problems.variants import effective_size


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of a layer's weights, input and output; the output at the bits of the layer's input.

    With which bits an output is read is another layer's choice. Of a product of activations the
    second operand is not described and counts nothing.
    """

    weights: int
    input: int
    output: int

    @classmethod
    def of(cls, layer: LayerDescription, precision: Precision) -> Footprint:
        """The footprint of a layer at a precision, every tensor filled up to whole bytes."""
        weights, _ = effective_size(layer, precision)
        return cls(
            packed_bytes(weights, precision.weight_bits),
            packed_bytes(math.prod(layer.input_shape), precision.activation_bits),
            packed_bytes(math.prod(layer.output_shape), precision.activation_bits),
        )


def bytes_moved(footprint: Footprint, memories: Sequence[Memory]) -> tuple[int, ...]:
    """Bytes that each of the memories, the nearest first, delivers or takes."""
    home = _home(footprint.input + footprint.output, memories)
    moved = []
    for level in range(len(memories)):
        if level > home:  # the activations lie nearer: weights stream past them
            moved.append(footprint.weights)
            continue
        nearer = memories[level - 1].size_bytes if level else None
        read = footprint.weights + footprint.input
        if nearer is not None:
            read = _tiled(footprint.weights, footprint.input, nearer.value)
        moved.append(read + footprint.output)
    return tuple(moved)


def _home(activations: int, memories: Sequence[Memory]) -> int:
    """The nearest memory that holds the activations, else the farthest."""
    for level, memory in enumerate(memories):
        if memory.size_bytes is None or activations <= memory.size_bytes.value:
            return level
    return len(memories) - 1


def _tiled(weights: int, activations: int, room: Fraction) -> int:
    """Bytes read where tiles of one operand stay and the other is read again for each."""
    if not room:  # no room to keep anything: as many tiles as bytes
        room = Fraction(1)
    by_weights = weights + activations * max(math.ceil(weights / room), 1)
    by_input = activations + weights * max(math.ceil(activations / room), 1)
    return min(by_weights, by_input)
