"""Devices with round figures."""

from __future__ import annotations

from fractions import Fraction

from bitwright.problems import Precision
from bitwright.problems.device import ComputeType, Device, Figure, Memory, Support

PRECISIONS = [Precision(w, a) for w in (1, 2, 3, 4, 8) for a in (2, 4, 8)]


def figure(value):
    """A figure whose source is this test."""
    return None if value is None else Figure(Fraction(str(value)), "round numbers of a test")


def array(scaling="fixed", *, rate=10**9, energy=1, memories=None, overhead=None, precision=None):
    """A device with one compute type and, unless others are given, a memory that is never the limit."""
    memories = [memory("DRAM", bandwidth=10**18)] if memories is None else memories
    compute = ComputeType("mac", precision, scaling, figure(rate), figure(energy))
    support = Support(dict.fromkeys([*PRECISIONS, Precision(16, 16), Precision(32, 32)], "mac"))
    return Device(
        "toy", "A toy", (compute,), (support,), tuple(memories), layer_overhead_us=figure(overhead)
    )


def memory(name, size=None, bandwidth=None, energy=None):
    """A memory of a size in bytes, bytes per second, and picojoule per byte."""
    return Memory(name, figure(size), figure(bandwidth), figure(energy))
