"""The bytes that every memory of a device delivers or takes for one run of a layer.

Layers run one after the other, weights come from the farthest memory at every run, and activations
lie in the nearest memory that holds the input and the output of the layer together. What comes from
a memory passes through the next nearer one. Where that one holds the weights, the input, or the
output, it keeps them while the rest streams past, and everything moves once. Where it holds none of
them, one is cut into tiles that fit, and either the input or the weights are read again for every
tile; of these ways the one with least traffic is taken. Groups of a convolution run one after the other, each
with its own share. What lies nearest moves once between that memory and the compute array.

Overlaps of neighbouring tiles, wider partial sums and alignment are left out, and so is compression.
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
    """Bytes of a layer's weights, input and output, of all its groups together.

    The output counts with the bits of the layer's input: with how many it is read is another layer's
    choice. Of a product of activations the second operand is not described and counts nothing.
    """

    weights: int
    input: int
    output: int
    groups: int = 1

    @classmethod
    def of(cls, layer: LayerDescription, precision: Precision) -> Footprint:
        """The footprint of a layer at a precision, every tensor filled up to whole bytes."""
        weights, _ = effective_size(layer, precision)
        return cls(
            packed_bytes(weights, precision.weight_bits),
            packed_bytes(math.prod(layer.input_shape), precision.activation_bits),
            packed_bytes(math.prod(layer.output_shape), precision.activation_bits),
            layer.groups or 1,
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
        moved.append(_through(footprint, None if nearer is None else nearer.value))
    return tuple(moved)


def _home(activations: int, memories: Sequence[Memory]) -> int:
    """The nearest memory that holds the activations, else the farthest."""
    for level, memory in enumerate(memories):
        if memory.size_bytes is None or activations <= memory.size_bytes.value:
            return level
    return len(memories) - 1


def _through(footprint: Footprint, room: Fraction | None) -> int:
    """Bytes that move once, or again for every tile, past a memory with so much room; None: any."""
    weights, inputs, outputs = footprint.weights, footprint.input, footprint.output
    if room is None:
        return weights + inputs + outputs
    room = max(room, Fraction(1)) * footprint.groups  # where nothing can be kept, bytes are tiles
    of_weights, of_inputs, of_outputs = (
        max(math.ceil(size / room), 1) for size in (weights, inputs, outputs)
    )
    read_inputs_again = weights + inputs * min(of_weights, of_outputs)
    read_weights_again = inputs + weights * min(of_inputs, of_outputs)
    return min(read_inputs_again, read_weights_again) + outputs
