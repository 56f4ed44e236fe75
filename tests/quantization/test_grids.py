"""Grids against torch's own fake quantization and a hand-written straight-through gradient."""

import pytest
import torch
from torch import nn

from bitwright.problems.errors import InputError
from bitwright.quantization import affine_grid, fake_quantize, symmetric_grid


def levels_of(grid):
    codes = torch.arange(grid.quant_min, grid.quant_max + 1)
    return (codes - grid.zero_point) * grid.scale


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
def test_symmetric_codes_are_the_narrow_range(bits):
    """Qn = Qp = 2^(b-1) - 1, zero is a level, and the ends are the largest values."""
    grid = symmetric_grid(torch.tensor(0.7), bits)
    levels = levels_of(grid)
    assert len(levels) == 2**bits - 1
    assert grid.zero_point == 0
    torch.testing.assert_close(levels[[0, -1]], torch.tensor([-0.7, 0.7]))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (0.5, 2.0), (-3.0, -1.0), (0.0, 6.0)])
def test_affine_codes_include_zero(bits, low, high):
    """The 2^b levels span the range and zero, to half a step, and zero is one of them."""
    grid = affine_grid(torch.tensor(low), torch.tensor(high), bits)
    levels = levels_of(grid)
    assert (grid.quant_min, grid.quant_max) == (0, 2**bits - 1)
    assert 0 in levels
    half_step = grid.scale.item() * 0.5001
    assert levels[0].item() == pytest.approx(min(low, 0), abs=half_step)
    assert levels[-1].item() == pytest.approx(max(high, 0), abs=half_step)


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("axis", [0, 1])
def test_fake_quantize_equals_torch_per_channel(bits, axis):
    """Per channel, values are those of torch's function with hand-made scales, bit for bit."""
    weight = torch.randn(5, 6, 3)
    max_abs = weight.abs().amax(dim=[d for d in range(3) if d != axis])
    top = 2 ** (bits - 1) - 1
    zeros = torch.zeros(len(max_abs), dtype=torch.int32)
    expected = torch.fake_quantize_per_channel_affine(weight, max_abs / top, zeros, axis, -top, top)
    assert torch.equal(fake_quantize(weight, symmetric_grid(max_abs, bits, axis)), expected)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_fake_quantize_equals_torch_per_tensor(bits):
    """Per tensor, values are those of torch's function with a hand-made range, bit for bit."""
    x = torch.rand(1000) * 3 - 1
    scale = (x.max() - x.min()) / (2**bits - 1)
    zero_point = round((-x.min() / scale).item())
    expected = torch.fake_quantize_per_tensor_affine(x, scale.item(), zero_point, 0, 2**bits - 1)
    assert torch.equal(fake_quantize(x, affine_grid(x.min(), x.max(), bits)), expected)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_affine_per_channel_equals_torch(bits, signed):
    """Values are those of torch's function with a hand-made scale and zero point per channel."""
    weight = torch.randn(5, 40) + torch.arange(-2.0, 3.0)[:, None]
    low, high = weight.amin(1).clamp(max=0), weight.amax(1).clamp(min=0)
    start, stop = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    scale = (high - low) / (2**bits - 1)
    zero_point = (start - torch.round(low / scale)).int()
    expected = torch.fake_quantize_per_channel_affine(weight, scale, zero_point, 0, start, stop)
    grid = affine_grid(weight.amin(1), weight.amax(1), bits, 0, signed=signed)
    assert (grid.quant_min, grid.quant_max) == (start, stop)
    assert torch.equal(fake_quantize(weight, grid), expected)


@pytest.mark.parametrize("bits", [2, 8, 16])
def test_signed_affine_codes_have_the_levels_of_unsigned_ones(bits):
    """Codes and zero point are shifted together, so that every value is rounded the same."""
    x = torch.randn(500)
    unsigned, signed = (affine_grid(x.min(), x.max(), bits, signed=s) for s in (False, True))
    assert torch.equal(fake_quantize(x, unsigned), fake_quantize(x, signed))
    assert torch.equal(levels_of(unsigned), levels_of(signed))


def test_the_wide_symmetric_range_has_one_more_level():
    """The lowest code is -2^(b-1) where the range is not narrow; the scale is the same."""
    wide, narrow = (symmetric_grid(torch.tensor(1.4), 4, narrow=n) for n in (False, True))
    assert (wide.quant_min, wide.quant_max, narrow.quant_min) == (-8, 7, -7)
    assert wide.scale == narrow.scale


@pytest.mark.parametrize("per_channel", [False, True])
def test_gradient_is_straight_through_inside_and_zero_outside(per_channel):
    """The gradient is that of clamping: passed where the code is in range, 0 elsewhere."""
    x = torch.randn(4, 500).mul(2).requires_grad_()
    max_abs = torch.tensor([0.5, 1.0, 2.0, 3.0]) if per_channel else torch.tensor(1.5)
    grid = symmetric_grid(max_abs, 3, 0 if per_channel else None)
    upstream = torch.randn_like(x)
    fake_quantize(x, grid).backward(upstream)
    code = torch.round(x.detach() / grid.scale.reshape(-1, 1))
    assert torch.equal(x.grad, upstream * (code.abs() <= 3))


def test_zeros_and_tiny_values_have_a_usable_grid():
    """A channel of zeros stays zero; scales never vanish."""
    weight = torch.stack([torch.zeros(4), torch.full((4,), 1e-30), torch.full((4,), 1e-44)])
    grid = symmetric_grid(weight.abs().amax(dim=1), 8, 0)
    rounded = fake_quantize(weight, grid)
    assert (grid.scale > 0).all()
    assert torch.equal(rounded[0], weight[0])
    torch.testing.assert_close(rounded[1], weight[1], rtol=1e-5, atol=0)
    assert rounded.isfinite().all()
    nothing = affine_grid(torch.tensor(0.0), torch.tensor(0.0), 4)
    assert fake_quantize(torch.zeros(3), nothing).tolist() == [0, 0, 0]


def test_scaling_the_values_scales_the_grid():
    """A grid for values times 8 rounds them to 8 times the levels, exactly."""
    x = torch.randn(300)
    small, large = (affine_grid(t * x.min(), t * x.max(), 5) for t in (1, 8))
    assert torch.equal(fake_quantize(8 * x, large), 8 * fake_quantize(x, small))


def test_error_of_uniform_noise_is_a_twelfth_of_the_squared_step():
    """E[(rounded - x)^2] = s^2 / 12 for values spread evenly over the grid (methods, 6.3)."""
    x = torch.rand(200_000) * 2 - 1
    grid = symmetric_grid(torch.tensor(1.0), 6)
    error = (fake_quantize(x, grid) - x).square().mean()
    assert error.item() == pytest.approx(grid.scale.item() ** 2 / 12, rel=0.01)


@pytest.mark.parametrize("bits", [0, 1, 25, 32])
def test_bits_without_a_symmetric_grid_are_refused(bits):
    """One bit has no signed narrow range, and float32 tells no more than 24 bits apart."""
    with pytest.raises(InputError, match=f"a symmetric grid takes 2 to 24 bits, got {bits}"):
        symmetric_grid(torch.tensor(1.0), bits)


def test_rounding_keeps_type_and_shape():
    """Rounding keeps dtype, shape and the need of a gradient."""
    weight = nn.Linear(3, 2).weight
    rounded = fake_quantize(weight, symmetric_grid(weight.detach().abs().amax(1), 4, 0))
    assert (rounded.dtype, rounded.shape, rounded.requires_grad) == (torch.float32, (2, 3), True)
