"""Costs that follow from the network alone: bit operations and the size of the weights."""

from __future__ import annotations

from bitwright.problems import LayerDescription, NetworkDescription, Precision


class BitOperations:
    """Multiply-adds times weight bits times activation bits; a float32 layer counts 32 x 32."""

    name = "bitops"

    def cost(self, layer: LayerDescription, precision: Precision) -> int:
        """Bit operations of one run of the layer."""
        return layer.macs * precision.weight_bits * precision.activation_bits

    def fixed_cost(self, network: NetworkDescription) -> int:  # noqa: ARG002 - the protocol's signature
        """Nothing is added: only the layers multiply."""
        return 0


class WeightSize:
    """Weights times their bits, without scales, biases, or padding to whole bytes."""

    name = "size_bits"

    def cost(self, layer: LayerDescription, precision: Precision) -> int:
        """Bits that the layer's weights take."""
        return layer.parameters * precision.weight_bits

    def fixed_cost(self, network: NetworkDescription) -> int:  # noqa: ARG002 - the protocol's signature
        """Nothing is added: only the layers' weights count."""
        return 0
