"""Budgets as people write them: numbers, units and shares."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import Budget, InputError

from .strategies import some

AMOUNTS = {
    "latency_ms=2.5": Fraction(5, 2),
    "latency_ms=500us": Fraction(1, 2),
    "latency_ms=500µs": Fraction(1, 2),
    "latency_ms=1s": 1000,
    "latency_us=1.5ms": 1500,
    "latency_us=200ns": Fraction(1, 5),
    "size_bytes=1.5MB": 1_500_000,
    "size_bytes=1.5 MB": 1_500_000,
    "size_bytes=1.5MiB": 3 * 2**19,
    "size_bytes=2KiB": 2048,
    "size_bytes=3kB": 3000,
    "size_bytes=1GiB": 2**30,
    "size_bytes=7B": 7,
    "size_bytes=7bytes": 7,
    "size_bits=1MB": 8_000_000,
    "size_bits=1MiB": 8 * 2**20,
    "size_bits=4Mbit": 4_000_000,
    "size_bits=1e3": 1000,
    "peak_activation_bytes=256KiB": 2**18,
    "bitops=116G": 116 * 10**9,
    "energy_uj=1.5mJ": 1500,
    "energy_uj=2nj": Fraction(1, 500),
    "mean_weight_bits=3.5": Fraction(7, 2),
    " latency_ms = 2.5 ": Fraction(5, 2),
    "latency_ms=.5": Fraction(1, 2),
    "latency_ms=0": 0,
}


@pytest.mark.parametrize("text", AMOUNTS)
def test_amounts_are_read_in_the_costs_own_unit(text):
    """MB is 10^6 bytes and MiB 2^20; times and energies convert exactly."""
    budget = Budget.parse(text)
    assert (budget.cost, budget.amount) == (text.split("=")[0].strip(), AMOUNTS[text])
    assert budget.share is None


@some
@given(st.decimals(0, 10**6, places=9))
def test_units_convert_without_rounding(number):
    """Every decimal survives to the last digit, alone and with a unit."""
    assert Budget.parse(f"latency_ms={number}").amount == Fraction(number)
    assert Budget.parse(f"latency_ms={number}us").amount == Fraction(number) / 1000
    assert Budget.parse(f"size_bytes={number}GiB").amount == Fraction(number) * 2**30


@pytest.mark.parametrize(
    ("text", "share"), [("50%", (1, 2)), ("0%", (0, 1)), ("33.4 %", (167, 500))]
)
def test_a_share_is_a_part_of_the_way(text, share):
    """Per cent of the way from the cheapest to the dearest configuration."""
    assert Budget.parse(f"size_bits={text}") == Budget("size_bits", share=Fraction(*share))


def test_values_from_a_configuration_may_be_numbers():
    """Numbers count as written: floats as their shortest decimal, integers of any size."""
    assert Budget.of("ms", 0.1).amount == Fraction(1, 10)
    assert Budget.of("ms", Decimal("0.10")).amount == Fraction(1, 10)
    assert Budget.of("ms", np.float32(0.1)).amount == Fraction(1, 10)
    assert Budget.of("bits", 2**70).amount == 2**70
    assert Budget.of("ms", "50%").share == Fraction(1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency_ms", "a budget is written NAME=VALUE, .* got 'latency_ms'"),
        ("=2.5", "a budget is written NAME=VALUE"),
        ("", "a budget is written NAME=VALUE"),
        ("latency_ms=", "budget 'latency_ms' must be a number, .* got ''"),
        ("latency_ms=fast", "budget 'latency_ms' must be a number, .* got 'fast'"),
        ("latency_ms=1,5", "budget 'latency_ms' must be a number"),
        ("latency_ms=nan", "budget 'latency_ms' must be a number"),
        ("latency_ms=1_000", "budget 'latency_ms' must be a number"),
        ("latency_ms=2.5==3", "budget 'latency_ms' must be a number"),
        ("latency_ms=-1", "budget 'latency_ms' must not be negative, got -1"),
        ("latency_ms=1MB", "budget 'latency_ms' does not take the unit 'MB'; .*'us'"),
        ("latency_ms=5mss", "does not take the unit 'mss'; did you mean 'ms'"),
        ("size_bytes=5ms", "budget 'size_bytes' does not take the unit 'ms'"),
        ("size_bytes=5MIB", "does not take the unit 'MIB'; did you mean 'MiB'"),
        ("size_bits=101%", "'size_bits': a share must be from 0% to 100%, got 101%"),
        ("size_bits=-1%", "'size_bits': a share must be from 0% to 100%, got -1%"),
        ("size_bits=1e999999999", r"budget 'size_bits' must be below 1\.8e\+308"),
        ("size_bits=1e-999999999%", "budget 'size_bits' must be .* at most 400 decimals"),
        ("size_bits=" + "9" * 9999, r"budget 'size_bits' must be below .* got 1\.0*e\+9999$"),
    ],
)
def test_other_budgets_are_refused(text, message):
    """Each mistake has its own line, and huge exponents take no time."""
    with pytest.raises(InputError, match=message):
        Budget.parse(text)


def test_a_budget_is_an_amount_or_a_share():
    """Neither, and both, are refused."""
    for fields in ({}, {"amount": Fraction(1), "share": Fraction(1)}):
        with pytest.raises(InputError, match="budget 'ms' needs either an amount or a share"):
            Budget("ms", **fields)
    with pytest.raises(InputError, match="budget 'ms' must be finite, got inf"):
        Budget.of("ms", float("inf"))
