"""The clipping rules against brute force through torch's own fake quantization, and their laws."""

import math

import numpy as np
import pytest
import torch

from bitwright.problems.errors import InputError
from bitwright.quantization import fake_quantize
from bitwright.quantization.ranges.clipping import (
    ACTIVATION_RULES,
    CLIP_FACTORS,
    WEIGHT_RULES,
    find_rule,
    grid_of,
)
from bitwright.quantization.ranges.observers import ObservedValues, Observer

SHAPES = ["relu", "silu", "normal"]


def shaped(shape, count=5000):
    normal = torch.randn(count)
    return {"relu": normal.relu(), "silu": normal * normal.sigmoid(), "normal": normal}[shape]


def observed(values):
    observer = Observer()
    observer.update(values)
    return observer.result()


def test_the_factors_are_a_grid_from_one_fifth_to_one():
    """80 to 100 factors in [0.2, 1], both ends among them (methods, 1)."""
    assert 80 <= len(CLIP_FACTORS) <= 100
    assert (min(CLIP_FACTORS), max(CLIP_FACTORS)) == (0.2, 1)


def symmetric_error(row, max_abs, bits):
    top = 2 ** (bits - 1) - 1
    rounded = torch.fake_quantize_per_tensor_affine(row, max_abs / top, 0, -top, top)
    return (rounded - row).double().square().sum().item()


def affine_error(row, low, high, bits):
    top = 2**bits - 1
    scale = (max(high, 0) - min(low, 0)) / top
    zero_point = min(max(round(-min(low, 0) / scale), 0), top)
    rounded = torch.fake_quantize_per_tensor_affine(row, scale, zero_point, 0, top)
    return (rounded - row).double().square().sum().item()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_mse_of_weights_is_the_best_of_all_factors(bits):
    """No factor leaves a smaller squared error in any channel, and extremes are clipped."""
    rows = torch.randn(6, 400) * torch.logspace(-3, 1, 6)[:, None]
    rows[:, 0] *= 5
    _, found = WEIGHT_RULES["mse"](ObservedValues.of(rows), bits, "symmetric")
    for row, max_abs in zip(rows, found, strict=True):
        full = row.abs().max().item()
        least = min(symmetric_error(row, t * full, bits) for t in CLIP_FACTORS)
        assert symmetric_error(row, max_abs.item(), bits) == pytest.approx(least, rel=1e-4)
        assert bits > 4 or max_abs < full


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_mse_of_activations_is_the_best_of_all_factors(bits, shape):
    """No factor leaves a smaller squared error on the sample."""
    values = shaped(shape)
    low, high = values.min().item(), values.max().item()
    kept = ACTIVATION_RULES["mse"](observed(values), bits, "affine")
    found_low, found_high = (end.item() for end in kept)
    least = min(affine_error(values, t * low, t * high, bits) for t in CLIP_FACTORS)
    assert affine_error(values, found_low, found_high, bits) == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize("bits", [2, 4])
def test_mse_of_affine_weights_is_the_best_of_all_factors(bits):
    """Every channel's range is shrunk to where no factor leaves a smaller squared error."""
    rows = torch.randn(4, 300) + torch.arange(4.0)[:, None]
    lows, highs = WEIGHT_RULES["mse"](ObservedValues.of(rows), bits, "affine")
    for row, low, high in zip(rows, lows, highs, strict=True):
        ends = row.min().item(), row.max().item()
        least = min(affine_error(row, t * ends[0], t * ends[1], bits) for t in CLIP_FACTORS)
        assert affine_error(row, low.item(), high.item(), bits) == pytest.approx(least, rel=1e-4)


def test_minmax_keeps_everything():
    """The full range of weights and activations stays at every bit-width."""
    rows = ObservedValues.of(torch.tensor([[1.0, -3.0], [0.0, 0.5]]))
    values = ObservedValues(torch.tensor(-2.0), torch.tensor(7.0), torch.zeros(1))
    for bits in (2, 8):
        low, high = WEIGHT_RULES["minmax"](rows, bits, "symmetric")
        assert (low.tolist(), high.tolist()) == ([-3, -0.5], [3, 0.5])
        assert ACTIVATION_RULES["minmax"](values, bits, "affine") == (-2, 7)
        assert ACTIVATION_RULES["minmax"](values, bits, "symmetric") == (-7, 7)


@pytest.mark.parametrize("rule", WEIGHT_RULES)
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_channels_of_zeros_are_harmless(rule, scheme):
    """A channel without weights keeps nothing."""
    low, high = WEIGHT_RULES[rule](ObservedValues.of(torch.zeros(2, 3)), 4, scheme)
    assert (low.tolist(), high.tolist()) == ([0, 0], [0, 0])


@pytest.mark.parametrize("rule", [*ACTIVATION_RULES, "percentile:99.5"])
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_scaled_values_have_a_scaled_range(rule, scheme, shape, bits):
    """Values times 8 (exact in floating point) keep 8 times the range, and it is within the extremes."""
    values = shaped(shape, 20_000)
    small = find_rule("activation", rule)(observed(values), bits, scheme)
    large = find_rule("activation", rule)(observed(8 * values), bits, scheme)
    torch.testing.assert_close(torch.stack(large), 8 * torch.stack(small), rtol=1e-5, atol=0)
    if scheme == "affine":
        assert values.min() <= small[0] <= small[1] <= values.max()
    else:
        assert -small[0] == small[1] <= values.abs().max()


@pytest.mark.parametrize("rule", WEIGHT_RULES)
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_permuted_channels_have_permuted_ranges(rule, scheme):
    """The range of a channel does not depend on its place, nor on its neighbours."""
    rows = torch.randn(6, 200) * torch.logspace(-2, 1, 6)[:, None]
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    keep = WEIGHT_RULES[rule]
    in_order = torch.stack(keep(ObservedValues.of(rows), 4, scheme))
    permuted = torch.stack(keep(ObservedValues.of(rows[order]), 4, scheme))
    torch.testing.assert_close(permuted, in_order[:, order], rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("percent", [99.0, 99.99])
def test_percentile_is_numpys(shape, percent):
    """The clip is numpy's percentile of all magnitudes: exactly for weights, to a bin for activations."""
    values = shaped(shape, 50_000)
    expected = np.percentile(values.abs().numpy(), percent)
    rule = find_rule("weight", f"percentile:{percent}")
    _, of_weights = rule(ObservedValues.of(values), 8, "symmetric")
    assert of_weights.item() == pytest.approx(expected, rel=1e-6)
    _, of_activations = rule(observed(values), 8, "symmetric")
    width = values.abs().max().item() / 2048
    assert of_activations.item() == pytest.approx(expected, abs=width)
    assert find_rule("weight", "percentile") is WEIGHT_RULES["percentile"]


def test_aciq_takes_its_clip_from_the_spread():
    """Symmetric: c times E|x|, or times the root of E x^2; affine: about the mean (methods, 1)."""
    laplace = torch.distributions.Laplace(0.0, 2.0).sample((200_000,))
    normal = 3 * torch.randn(200_000)
    keep = ACTIVATION_RULES
    _, high = keep["aciq_laplace"](observed(laplace), 4, "symmetric")
    assert high.item() == pytest.approx(5.029 * 2, rel=0.01)
    _, high = keep["aciq_gauss"](observed(normal), 3, "symmetric")
    assert high.item() == pytest.approx(2.152 * 3, rel=0.01)
    ends = keep["aciq_gauss"](observed(normal + 0.5), 3, "affine")
    expected = [0.5 - 2.152 * 3, 0.5 + 2.152 * 3]
    assert [end.item() for end in ends] == pytest.approx(expected, rel=0.02)
    ends = keep["aciq_laplace"](observed(laplace - 1), 2, "affine")
    assert [end.item() for end in ends] == pytest.approx([-1 - 2.831 * 2, -1 + 2.831 * 2], rel=0.02)


@pytest.mark.parametrize("rule", ["aciq_laplace", "aciq_gauss"])
def test_aciq_after_relu_is_near_the_least_error(rule):
    """Of values that ReLU halved, no clip within 10 % leaves a much smaller error (Banner et al., 4.2)."""
    draw = {
        "aciq_laplace": torch.distributions.Laplace(0.0, 1.0).sample((400_000,)),
        "aciq_gauss": torch.randn(400_000),
    }[rule]
    values = draw.relu()
    low, high = ACTIVATION_RULES[rule](observed(values), 4, "affine")
    assert low == 0
    errors = {
        t: affine_error(values, 0.0, t * high.item(), 4) for t in (0.6, 0.8, 0.9, 1, 1.1, 1.25, 1.6)
    }
    assert errors[1] <= 1.03 * min(errors.values())
    assert errors[1] < min(errors[0.6], errors[1.6])


@pytest.mark.parametrize("rule", ["mse", "aciq_gauss", "percentile", "kl", "minmax"])
def test_sixteen_bits_change_nothing_visible(rule):
    """At 16 bits the error of values without outliers is below a hundred-thousandth of the range."""
    values = torch.rand(20_000) * 3 - 1
    for scheme in ("symmetric", "affine"):
        kept = find_rule("activation", rule)(observed(values), 16, scheme)
        rounded = fake_quantize(values, grid_of(kept, 16, scheme))
        if rule == "percentile":
            rounded, values = rounded[values < 1.99], values[values < 1.99]
        assert (rounded - values).abs().max() < 2 * 1e-4
        assert (rounded - values).square().mean().sqrt() < 3e-5


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
def test_a_full_scale_uniform_signal_has_six_decibels_per_bit(bits):
    """SQNR = 6.02 b dB, and the error's power is a twelfth of the squared step (methods, 6.3)."""
    values = torch.rand(400_000) * 2 - 1
    grid = grid_of(ACTIVATION_RULES["minmax"](observed(values), bits, "affine"), bits, "affine")
    noise = (fake_quantize(values, grid) - values).double().square().mean()
    assert noise.item() == pytest.approx(grid.scale.item() ** 2 / 12, rel=0.02)
    decibels = 10 * math.log10(values.double().square().mean().item() / noise.item())
    # 2^b levels span the range from end to end, so that the ends' levels have half a step to serve.
    assert decibels == pytest.approx(20 * math.log10(2**bits - 1), abs=0.1)
    assert decibels == pytest.approx(
        6.02 * bits, abs=20 * math.log10(2**bits / (2**bits - 1)) + 0.1
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("percentil", "weight rule 'percentil' is unknown; did you mean 'percentile'"),
        ("mse:3", "weight rule 'mse:3': 'mse' takes no option; write 'mse'"),
        ("percentile:x", "must be a number from 50 to 100, got 'x'"),
        ("percentile:nan", "must be a number from 50 to 100, got 'nan'"),
        ("percentile:101", "must be a number from 50 to 100, got '101'"),
    ],
)
def test_rules_that_do_not_exist_are_refused(name, message):
    """The error names the rule, the option and what would do."""
    with pytest.raises(InputError, match=message):
        find_rule("weight", name)
