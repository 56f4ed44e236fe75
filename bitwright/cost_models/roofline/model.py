"""The cost model `roofline`: latency or energy of every layer from the figures of a device."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from bitwright.cost_models.device_option import DeviceOption
from bitwright.cost_models.devices import load_device
from bitwright.cost_models.roofline.estimate import LayerEstimate, estimate
from bitwright.problems import (
    Device,
    InputError,
    LayerDescription,
    NetworkDescription,
    Precision,
    nearest,
)
from bitwright.problems.costing import CostSource

_DIGITS = {"us": 0, "ms": 3, "s": 6, "uj": 0, "mj": 3, "j": 6}
"""How many digits a figure in the unit is behind one in microseconds or microjoule."""
_COSTS = ("latency_us", "latency_ms", "latency_s", "energy_uj", "energy_mj", "energy_j")
_DECIMALS_OF_MICRO = 6  # picoseconds and picojoules


class Roofline:
    """Latency or energy of a layer by the roofline of a device (Williams et al., CACM 2009).

    Latency is the longest that the compute array or any memory is busy, and the device's overhead of
    a layer. Energy is that of the operations and of the bytes moved, per memory (the accounting of
    Eyeriss, Chen et al., ISCA 2016). `device` is a name or a device file; without it the run's device
    is taken. `cost` is the quantity with its unit. Nothing waits for anything else, so that real times
    are longer. No figure is invented: one that the device file leaves out raises `InputError`.
    """

    def __init__(self, *, device: DeviceOption | None = None, cost: str = "latency_us") -> None:
        if cost not in _COSTS:
            raise InputError(f"cost: unknown {cost!r}; {nearest(cost, _COSTS)}")
        self.name = f"roofline_{cost}"
        self._quantity, _, self._unit = cost.partition("_")
        self.device = _loaded(device)

    def for_network(self, network: NetworkDescription, device: Device | None) -> Roofline:  # noqa: ARG002 - the protocol's signature
        """The model for the run's device, where it was not given one of its own."""
        if self.device is not None:
            return self
        if device is None:
            raise InputError(f"cost {self.name!r} needs a device: name one for it, or for the run")
        ready = copy(self)
        ready.device = device
        return ready

    def cost(self, layer: LayerDescription, precision: Precision) -> Decimal:
        """Latency or energy of one run of the layer, to the picosecond or picojoule."""
        asked = self.estimate(layer, precision)
        value = asked.latency_us() if self._quantity == "latency" else asked.energy_uj()
        return _decimal(value, _DIGITS[self._unit])

    def fixed_cost(self, network: NetworkDescription) -> int:  # noqa: ARG002 - the protocol's signature
        """Nothing is added: what is no layer is not estimated."""
        return 0

    def estimate(self, layer: LayerDescription, precision: Precision) -> LayerEstimate:
        """Operations, bytes and seconds behind the cost."""
        if self.device is None:
            raise InputError(f"layer {layer.name!r}: cost {self.name!r} needs a device")
        return estimate(self.device, layer, precision)

    def source(self, layer: LayerDescription, precision: Precision) -> CostSource:
        """The compute type, and for a latency what the layer waits for."""
        asked = self.estimate(layer, precision)
        text = asked.bound() if self._quantity == "latency" else ""
        return CostSource(runs_as=asked.compute.name, text=text)

    def notes(self) -> Sequence[str]:
        """That it is an estimate, of which device, and which figures the device file leaves out."""
        if self.device is None:
            return ()
        key = "bytes_per_second" if self._quantity == "latency" else "energy_pj_per_byte"
        notes = [f"estimated from the figures of device {self.device.name!r}, not measured"]
        notes += [
            f"memory {memory.name!r} has no {key} and does not count"
            for memory in self.device.memories[:-1]
            if getattr(memory, key) is None
        ]
        if self._quantity == "latency" and self.device.layer_overhead_us is None:
            notes.append("no overhead of a layer is known")
        return notes


def _loaded(device: str | Path | None) -> Device | None:
    return None if device is None else load_device(device)


def _decimal(micro: Fraction, digits: int) -> Decimal:
    """The value in its unit, rounded to the decimals that are kept."""
    kept = round(micro * 10**_DECIMALS_OF_MICRO)
    return Decimal(kept).scaleb(-(_DECIMALS_OF_MICRO + digits))
