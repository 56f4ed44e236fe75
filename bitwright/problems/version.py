"""The version of bitwright; it stands here because every result file names it."""

__version__ = "0.1.0"
