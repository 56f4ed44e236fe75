"""Tests of `bitwright.tasks`."""
