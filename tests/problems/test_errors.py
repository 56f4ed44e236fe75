"""Errors: which kind of exception they are, and the end of their messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import (
    BitwrightError,
    InputError,
    MeasurementError,
    MissingDependencyError,
    UnsupportedProblemError,
    nearest,
)

from .strategies import names, some


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (InputError, (BitwrightError, ValueError)),
        (UnsupportedProblemError, (InputError,)),
        (MissingDependencyError, (BitwrightError, ImportError)),
        (MeasurementError, (BitwrightError, RuntimeError)),
    ],
)
def test_errors_can_be_caught_as_what_they_are(kind, bases):
    """One base for all that is shown as a line, and the usual Python kinds beside it."""
    assert all(issubclass(kind, base) for base in bases)


@some
@given(st.lists(names, min_size=1, max_size=20, unique=True), names)
def test_known_names_are_listed_in_order(known, name):
    """At most twelve are shown, sorted, and then how many there are."""
    text = nearest(name, known)
    shown = ", ".join(repr(n) for n in sorted(known)[:12])
    rest = f", ... ({len(known)} in all)" if len(known) > 12 else ""
    assert text.endswith(f"nown: {shown}{rest}")


@pytest.mark.parametrize(
    "typed", ["latncy_ms", "Latency_ms", "LATENCY_MS", "latency", "latency-ms"]
)
def test_a_mistyped_name_finds_the_right_one(typed):
    """A missing letter and another case are no obstacle; what is like nothing finds nothing."""
    known = ["size_bits", "latency_ms", "energy_uj"]
    assert nearest(typed, known).startswith("did you mean 'latency_ms'? Known: ")
    assert nearest("xyz", known).startswith("known: ")
