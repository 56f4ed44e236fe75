"""The clipping rules against brute force through torch's own fake quantization."""

import pytest
import torch

from bitwright.quantization.clipping import (
    ACTIVATION_RULES,
    CLIP_FACTORS,
    WEIGHT_RULES,
)
from bitwright.quantization.observers import ObservedValues


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
    found = WEIGHT_RULES["mse"](rows, bits)
    for row, max_abs in zip(rows, found, strict=True):
        full = row.abs().max().item()
        least = min(symmetric_error(row, t * full, bits) for t in CLIP_FACTORS)
        assert symmetric_error(row, max_abs.item(), bits) == pytest.approx(least, rel=1e-4)
        assert bits > 4 or max_abs < full


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("shape", ["relu", "silu", "normal"])
def test_mse_of_activations_is_the_best_of_all_factors(bits, shape):
    """No factor leaves a smaller squared error on the sample."""
    normal = torch.randn(5000)
    values = {"relu": normal.relu(), "silu": normal * normal.sigmoid(), "normal": normal}[shape]
    low, high = values.min().item(), values.max().item()
    observed = ObservedValues(values.min(), values.max(), values)
    found_low, found_high = (end.item() for end in ACTIVATION_RULES["mse"](observed, bits))
    least = min(affine_error(values, t * low, t * high, bits) for t in CLIP_FACTORS)
    assert affine_error(values, found_low, found_high, bits) == pytest.approx(least, rel=1e-4)


def test_minmax_keeps_everything():
    """The full range of weights and activations stays at every bit-width."""
    rows = torch.tensor([[1.0, -3.0], [0.0, 0.5]])
    observed = ObservedValues(torch.tensor(-2.0), torch.tensor(7.0), torch.zeros(1))
    for bits in (2, 8):
        assert WEIGHT_RULES["minmax"](rows, bits).tolist() == [3, 0.5]
        assert ACTIVATION_RULES["minmax"](observed, bits) == (-2, 7)


@pytest.mark.parametrize("rule", WEIGHT_RULES)
def test_channels_of_zeros_are_harmless(rule):
    """A channel without weights keeps nothing."""
    assert WEIGHT_RULES[rule](torch.zeros(2, 3), 4).tolist() == [0, 0]
