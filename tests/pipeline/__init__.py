"""Tests of `bitwright.pipeline`."""
