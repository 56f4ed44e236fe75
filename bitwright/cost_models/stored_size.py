"""Sizes of the file that a network is exported to."""

from __future__ import annotations

from typing import Literal

from bitwright.problems import FLOAT32, LayerDescription, NetworkDescription, Precision
from bitwright.problems.storage import group_size, packed_bytes, stored_bits
from bitwright.problems.variants import BFLOAT16, FLOAT16, matrix_shape, svd_rank

_FLOAT_BYTES = 4


class _FileSize:
    """Weights in some width, their scales and zero points, biases, and what belongs to no layer.

    `weight_scheme` and `weight_granularity` are those of the calibration: affine weights have a zero
    point beside each scale, in the width of their codes. A batch norm that folds into the scales of
    a layer leaves one scale for each of its channels, whatever the granularity.
    """

    name: str

    def __init__(
        self,
        *,
        weight_scheme: Literal["symmetric", "affine"] = "symmetric",
        weight_granularity: str = "channel",
    ) -> None:
        self.weight_scheme = weight_scheme
        self.weight_granularity = weight_granularity
        self._group = group_size(weight_granularity)

    def cost(self, layer: LayerDescription, precision: Precision) -> int:
        """Bytes of the layer's weights, scales, zero points and biases; of `svd-K` of both factors."""
        biases = _FLOAT_BYTES * layer.bias_parameters
        tensors = [(layer.parameters, layer.weight_channels, layer.folded_channels)]
        rank = svd_rank(precision.variant)
        if rank is not None and (shape := matrix_shape(layer)) is not None:
            rows, columns = shape
            tensors = [(rank * rows, rows, layer.folded_channels), (rank * columns, rank, 0)]
        return biases + sum(self._tensor(*tensor, precision) for tensor in tensors)

    def _tensor(self, count: int, channels: int, folded: int, precision: Precision) -> int:
        """Bytes of so many weights, with the scales of so many channels."""
        bits = precision.weight_bits
        is_cast = bits == 16 and precision.variant in (FLOAT16, BFLOAT16)
        if bits == FLOAT32.weight_bits or is_cast:
            return packed_bytes(count, bits)
        width, scales = self.width(bits), folded or self.scales(channels, self._group)
        zero_points = packed_bytes(scales, width) if self.weight_scheme == "affine" else 0
        return packed_bytes(count, width) + _FLOAT_BYTES * scales + zero_points

    def fixed_cost(self, network: NetworkDescription) -> int:
        """Bytes of batch norms that stay, embeddings and the like, in float32."""
        return network.other_bytes

    def width(self, bits: int) -> int:
        """Bits in the file for a code of so many bits."""
        raise NotImplementedError

    def scales(self, channels: int, group: int | None) -> int:
        """Scales in the file where so many channels share one; all of them where None."""
        raise NotImplementedError


class StoredSize(_FileSize):
    """Bytes of the tensors in an ONNX file (QDQ): codes in types of 2, 4, 8 or 16 bits.

    Every tensor is filled up to whole bytes. Scales are float32, one for each output channel or one
    for the whole weight: ONNX has none for groups of channels, which repeat theirs. Batch norms that
    can be are folded. The graph itself is not counted.
    """

    name = "stored_size_bytes"

    def width(self, bits: int) -> int:
        """Bits of the narrowest type that holds the code."""
        return stored_bits(bits)

    def scales(self, channels: int, group: int | None) -> int:
        """One for each channel, or one in all."""
        return min(channels, 1) if group is None else channels


class PackedSize(_FileSize):
    """Bytes of a file that packs codes of any width without gaps, and stores each scale once.

    All else is as in `stored_size_bytes`.
    """

    name = "size_bytes"

    def width(self, bits: int) -> int:
        """The code's own bits."""
        return bits

    def scales(self, channels: int, group: int | None) -> int:
        """One for each group of channels."""
        return min(channels, 1) if group is None else -(-channels // group)
