"""Costs that follow from the network alone: bit operations, size and mean bits of the weights."""

from __future__ import annotations

from fractions import Fraction

from bitwright.problems import (
    Device,
    InputError,
    LayerDescription,
    NetworkDescription,
    Precision,
)
from bitwright.problems.variants import activation_bitops, effective_size

_DECIMALS = 17
"""Decimals of a mean of bits, before those that a sum over many layers takes."""


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


class MeanWeightBits:
    """Bits of all weights over the number of weights, both as `size_bits` counts them.

    A layer's share is cut off behind so many decimals that the total of a network falls short by
    less than a float can tell: no budget that a configuration keeps is judged as broken, nor one of
    up to four decimals as kept that is broken (up to 10^9 weights). The weights of `svd-K` count at
    their bits over those of the whole network before.
    """

    name = "mean_weight_bits"

    def __init__(self) -> None:
        self._weights, self._digits = 0, 0

    def for_network(self, network: NetworkDescription, device: Device | None) -> MeanWeightBits:  # noqa: ARG002 - the protocol's signature
        """The model of one network; raises `InputError` where no layer has weights."""
        if not network.parameters:
            raise InputError(f"cost {self.name!r}: network {network.name!r} has no weights")
        twin = MeanWeightBits()
        twin._weights, twin._digits = network.parameters, _DECIMALS + len(str(len(network)))
        return twin

    def cost(self, layer: LayerDescription, precision: Precision) -> Fraction:
        """The layer's share; raises `InputError` where nobody said of which network."""
        if not self._weights:
            raise InputError(
                f"cost {self.name!r}: layer {layer.name!r} is a share of a network; "
                "ask the model that `for_network` gives"
            )
        weights, _ = effective_size(layer, precision)
        units = 10**self._digits
        return Fraction(weights * precision.weight_bits * units // self._weights, units)

    def fixed_cost(self, network: NetworkDescription) -> int:  # noqa: ARG002 - the protocol's signature
        """Nothing is added: only the layers' weights count."""
        return 0
