"""A cost model with everything that one can have: sources, interactions, a fixed cost and notes."""

from decimal import Decimal

from bitwright.problems.costing import CostInteraction, CostSource


class Speaking:
    """Ten times the weight bits of every layer, 5 fixed, and 3 for a change of bits between neighbours."""

    name = "latency_us"

    def cost(self, layer, precision):
        return Decimal(10 * precision.weight_bits)

    def fixed_cost(self, network):
        return 5

    def interactions(self, network, candidates):
        return [
            CostInteraction(
                pair,
                tuple(
                    tuple(3 * (a.weight_bits != b.weight_bits) for b in candidates[pair[1]])
                    for a in candidates[pair[0]]
                ),
            )
            for pair in zip(network.names, network.names[1:], strict=False)
        ]

    def source(self, layer, precision):
        wide = precision.weight_bits > 4
        return CostSource("int8" if wide else "", Decimal("0.5"), not wide, "measured twice")

    def notes(self):
        return ["device: a board", "date: today"]
