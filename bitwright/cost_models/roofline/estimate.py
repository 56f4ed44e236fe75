"""One layer on a device: how long the compute array and every memory are busy, and what it takes in energy."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from bitwright.cost_models.roofline.scaling import operations_per_mac
from bitwright.cost_models.roofline.traffic import Footprint, bytes_moved
from bitwright.problems import Device, InputError, LayerDescription, Precision
from bitwright.problems.device import ComputeType, Figure, is_depthwise
from bitwright.problems.variants import effective_size

_MICRO = 10**6
_PICO_IN_MICRO = 10**6


@dataclass(frozen=True, slots=True)
class LayerEstimate:
    """What a layer asks of a device at one precision.

    `moved` holds the bytes of every memory of the device, the nearest first; the farthest is last.
    `operations` are the compute type's own (`operations_per_mac` for each of the `macs`).
    """

    device: Device
    layer: str
    precision: Precision
    compute: ComputeType
    macs: int
    operations: int
    moved: tuple[int, ...]

    @property
    def macs_per_second(self) -> Fraction:
        """Multiply-adds of this precision that the array carries out at its peak."""
        peak = self._compute_figure(self.compute.macs_per_second, "macs_per_second")
        return peak / Fraction(self.operations, self.macs) if self.macs else peak

    def seconds(self) -> dict[str, Fraction]:
        """How long the array and every memory of known bandwidth are busy, the array under ''."""
        peak = self._compute_figure(self.compute.macs_per_second, "macs_per_second")
        busy = {"": _per(self.operations, peak, self._missing("macs_per_second"))}
        for index, memory in enumerate(self.device.memories):
            bandwidth = self._memory_figure(index, memory.bytes_per_second, "bytes_per_second")
            if bandwidth is not None:
                what = f"device {self.device.name!r}: memory {memory.name!r}: bytes_per_second"
                busy[memory.name] = _per(self.moved[index], bandwidth, what)
        return busy

    def latency_us(self) -> Fraction:
        """The longest of these, and the overhead of a layer; computing and moving overlap."""
        overhead = self.device.layer_overhead_us
        return max(self.seconds().values()) * _MICRO + (overhead.value if overhead else 0)

    def energy_uj(self) -> Fraction:
        """Energy of all operations and of every byte moved."""
        each = self._compute_figure(self.compute.energy_pj_per_mac, "energy_pj_per_mac")
        picojoule = self.operations * each
        for index, memory in enumerate(self.device.memories):
            energy = self._memory_figure(index, memory.energy_pj_per_byte, "energy_pj_per_byte")
            picojoule += self.moved[index] * (energy or 0)
        return picojoule / _PICO_IN_MICRO

    def bound(self) -> str:
        """What the layer waits for: `compute bound`, or `memory bound (NAME)`."""
        busy = self.seconds()
        longest = max(busy, key=lambda name: busy[name])
        return f"memory bound ({longest})" if longest else "compute bound"

    def _compute_figure(self, figure: Figure | None, key: str) -> Fraction:
        if figure is None:
            raise InputError(f"{self._missing(key)} is not given, which a roofline needs")
        return figure.value

    def _missing(self, key: str) -> str:
        return f"device {self.device.name!r}: compute type {self.compute.name!r}: {key}"

    def _memory_figure(self, index: int, figure: Figure | None, key: str) -> Fraction | None:
        """The figure of a memory; only the farthest must have it, the notes name the others."""
        if figure is None and index == len(self.device.memories) - 1:
            memory = self.device.memories[index].name
            raise InputError(
                f"device {self.device.name!r}: memory {memory!r}: {key} is not given, which a "
                "roofline needs"
            )
        return figure.value if figure else None


def estimate(device: Device, layer: LayerDescription, precision: Precision) -> LayerEstimate:
    """What the layer asks of the device; raises `InputError` where it cannot be stored or has no figure.

    `svd-K` counts its two factors; what a variant does to the activation that follows counts nothing.
    """
    if not device.memories:
        raise InputError(f"device {device.name!r}: memories are not given, which a roofline needs")
    name = _runs_as(device, layer, precision)
    compute = device.compute_type(name)
    _, macs = effective_size(layer, precision)
    return LayerEstimate(
        device=device,
        layer=layer.name,
        precision=precision,
        compute=compute,
        macs=macs,
        operations=macs * operations_per_mac(compute, precision),
        moved=bytes_moved(Footprint.of(layer, precision), device.memories),
    )


def _runs_as(device: Device, layer: LayerDescription, precision: Precision) -> str:
    name = device.layer_runs_as(layer, precision)
    if name is None:
        storable = device.storable(layer.kind, depthwise=is_depthwise(layer))
        stored = ", ".join(str(p) for p in sorted(storable))
        raise InputError(
            f"device {device.name!r} does not store layer {layer.name!r} ({layer.kind}) at "
            f"{precision}; such layers it stores at {stored or 'no precision'}"
        )
    return name


def _per(amount: int, rate: Fraction, what: str) -> Fraction:
    if not rate:
        raise InputError(f"{what} must be above 0")
    return amount / rate
