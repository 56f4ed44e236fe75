"""Measuring on the host: layers alone and whole networks, in a runtime, as tables of costs."""

from bitwright.measuring.runtime import Runtime as Runtime

__all__ = ["Runtime"]
