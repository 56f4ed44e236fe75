"""Tests of `bitwright.commands`."""
