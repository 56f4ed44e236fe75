"""Sizes of the file that a network is exported to."""

from __future__ import annotations

from bitwright.problems import FLOAT32, LayerDescription, NetworkDescription, Precision
from bitwright.problems.storage import packed_bytes, stored_bits
from bitwright.problems.variants import BFLOAT16, FLOAT16, matrix_shape, svd_rank

_FLOAT_BYTES = 4


class _FileSize:
    """Weights in some width, their scales, biases in float32, and what belongs to no layer."""

    def cost(self, layer: LayerDescription, precision: Precision) -> int:
        """Bytes of the layer's weights, scales and biases; of `svd-K` those of both factors."""
        bits, rank = precision.weight_bits, svd_rank(precision.variant)
        tensors, scales = [layer.parameters], layer.weight_channels
        if rank is not None and (shape := matrix_shape(layer)) is not None:
            tensors, scales = [rank * side for side in shape], shape[0] + rank
        is_cast = bits == 16 and precision.variant in (FLOAT16, BFLOAT16)
        if bits == FLOAT32.weight_bits or is_cast:
            scales = 0
        else:
            bits = self.width(bits)
        weights = sum(packed_bytes(count, bits) for count in tensors)
        return weights + _FLOAT_BYTES * (scales + layer.bias_parameters)

    def fixed_cost(self, network: NetworkDescription) -> int:
        """Bytes of batch norms that stay, embeddings and the like, in float32."""
        return network.other_bytes

    def width(self, bits: int) -> int:
        """Bits in the file for a code of so many bits."""
        raise NotImplementedError


class StoredSize(_FileSize):
    """Bytes of the tensors in an ONNX file (QDQ): codes in types of 2, 4, 8 or 16 bits.

    Every tensor is filled up to whole bytes. Weights are quantized per output channel and have one
    float32 scale for each; batch norms that can be are folded. The graph itself is not counted.
    """

    name = "stored_size_bytes"

    def width(self, bits: int) -> int:
        """Bits of the narrowest type that holds the code."""
        return stored_bits(bits)


class PackedSize(_FileSize):
    """Bytes of a file that packs codes of any width without gaps, as `stored_size_bytes` otherwise."""

    name = "size_bytes"

    def width(self, bits: int) -> int:
        """The code's own bits."""
        return bits
