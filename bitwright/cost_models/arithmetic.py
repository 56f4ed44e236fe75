"""Costs that follow from the network alone: bit operations and the size of the weights."""

from __future__ import annotations

from bitwright.problems import LayerDescription, NetworkDescription, Precision
from bitwright.problems.variants import activation_bitops, effective_size


class BitOperations:
    """Multiply-adds times weight bits times activation bits; a float32 layer counts 32 x 32.

    `svd-K` has the multiply-adds of its two factors; `hybrid` and `integer` add the evaluation of
    the activation behind the layer (`bitwright.problems.variants`).
    """

    name = "bitops"

    def cost(self, layer: LayerDescription, precision: Precision) -> int:
        """Bit operations of one run of the layer."""
        _, macs = effective_size(layer, precision)
        multiplied = macs * precision.weight_bits * precision.activation_bits
        return multiplied + activation_bitops(layer, precision)

    def fixed_cost(self, network: NetworkDescription) -> int:  # noqa: ARG002 - the protocol's signature
        """Nothing is added: only the layers multiply."""
        return 0


class WeightSize:
    """Weights times their bits, without scales, biases, or padding to whole bytes.

    The weights of `svd-K` are those of its two factors.
    """

    name = "size_bits"

    def cost(self, layer: LayerDescription, precision: Precision) -> int:
        """Bits that the layer's weights take."""
        weights, _ = effective_size(layer, precision)
        return weights * precision.weight_bits

    def fixed_cost(self, network: NetworkDescription) -> int:  # noqa: ARG002 - the protocol's signature
        """Nothing is added: only the layers' weights count."""
        return 0
