"""Rounding in few passes: values and gradients against torch and against formulas written by hand."""

import math

import pytest
import torch
from torch import Tensor

from bitwright.quantization.rounding import (
    BLOCK,
    round_by_learned_step,
    round_to_grid,
    round_within_clip,
)


def bits_of(tensor: Tensor) -> Tensor:
    """The float32 bit patterns, which tell -0.0 from 0.0."""
    return tensor.contiguous().view(torch.int32)


def with_ties(*shape: int) -> Tensor:
    """Random values, a part of them half-way between levels of steps that are powers of two."""
    x = 2 * torch.randn(shape)
    x.view(-1)[::3] = torch.randint(-40, 41, x.view(-1)[::3].shape) / 8
    return x


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16, 24])
@pytest.mark.parametrize(
    ("shape", "axis"), [((40, 6, 3, 3), 0), ((5, 6, 3), 1), ((9, BLOCK // 4), 0)]
)
def test_per_channel_rounding_is_torchs_in_both_directions(shape, axis, bits):
    """Levels to the bit and gradients, with ties, in one block and in several."""
    x, top = with_ties(*shape).requires_grad_(), 2 ** (bits - 1) - 1
    step = 3 * torch.rand(shape[axis]) / top
    step[::2] = 0.25
    zeros, upstream = torch.zeros(len(step), dtype=torch.int32), torch.randn(shape)
    expected = torch.fake_quantize_per_channel_affine(x, step, zeros, axis, -top, top)
    (expected_gradient,) = torch.autograd.grad(expected, x, upstream)
    found = round_to_grid(x, step, -top, top, axis)
    assert torch.equal(bits_of(found), bits_of(expected))
    assert torch.equal(torch.autograd.grad(found, x, upstream)[0], expected_gradient)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("zero_part", [0, 0.3, 1])
@pytest.mark.parametrize("format_", [torch.contiguous_format, torch.channels_last])
def test_per_tensor_rounding_is_torchs_in_both_directions(bits, zero_part, format_):
    """The same with one scale and a zero point anywhere in the grid, in both memory formats."""
    top = 2**bits - 1
    zero_point, step = round(zero_part * top), torch.tensor(0.125)
    x = with_ties(4, 16, 9, 9).to(memory_format=format_).requires_grad_()
    upstream = torch.randn_like(x)
    expected = torch.fake_quantize_per_tensor_affine(
        x, step, torch.tensor(zero_point, dtype=torch.int32), 0, top
    )
    (expected_gradient,) = torch.autograd.grad(expected, x, upstream)
    found = round_to_grid(x, step, -zero_point, top - zero_point)
    assert torch.equal(bits_of(found), bits_of(expected))
    assert torch.equal(torch.autograd.grad(found, x, upstream)[0], expected_gradient)


def test_nan_stays_and_infinity_goes_to_its_end():
    """What torch maps to the lowest level is kept visible."""
    x = torch.tensor([math.nan, math.inf, -math.inf])
    found = round_to_grid(x, torch.tensor(0.5), -7, 7)
    assert found[0].isnan()
    assert found[1:].tolist() == [3.5, -3.5]


def test_gradients_of_gradients_are_those_of_torch():
    """Double backward, as Hessian-vector products take it."""
    x = torch.randn(50).requires_grad_()

    def second(rounded: Tensor) -> Tensor:
        (first,) = torch.autograd.grad(rounded.pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(first.sum(), x)[0]

    step, zero = torch.tensor(0.1), torch.tensor(0, dtype=torch.int32)
    expected = second(torch.fake_quantize_per_tensor_affine(x, step, zero, -7, 7))
    torch.testing.assert_close(second(round_to_grid(x, step, -7, 7)), expected)


def test_short_floats_are_rounded_in_float32():
    """bfloat16 has no room for quotients of 8 bits; the answer is the nearest of its values."""
    x = torch.randn(1000).bfloat16()
    found = round_to_grid(x, torch.tensor(0.02), -127, 127)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, round_to_grid(x.float(), torch.tensor(0.02), -127, 127).bfloat16())


def smooth_twin(x: Tensor, step: Tensor, lower: int, upper: int, learns_inside: bool) -> Tensor:
    """What the estimators differentiate: a clipped line plus rounding errors that are held.

    LSQ: step * (clip(v) + held error), v = x / step, so that the step's derivative inside is
    clip(v) + error - v = round(v) - v. PACT: the clipped value alone, plus a held error.
    """
    quotient = (x / step).clamp(lower, upper)
    error = (quotient.round() - quotient).detach()
    return step * (quotient + error) if learns_inside else step * quotient + (step * error).detach()


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize(("lower", "upper"), [(-3, 3), (0, 15), (-5, 10), (-127, 127)])
def test_lsq_gradients_are_the_derivatives_of_its_surrogate(axis, lower, upper):
    """Gradients of tensor and step, per tensor and per channel, in float64."""
    x = 2 * torch.randn(6, 5, 40, dtype=torch.float64).requires_grad_()
    shape = () if axis is None else (x.shape[axis],)
    step = ((0.5 + torch.rand(shape, dtype=torch.float64)) * 3 / upper).requires_grad_()
    upstream = torch.randn_like(x)
    along = step if axis is None else step.view([-1 if d == axis else 1 for d in range(3)])
    expected = smooth_twin(x, along, lower, upper, learns_inside=True)
    found = round_by_learned_step(x, step, lower, upper, axis, gradient_scale=0.25)
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(expected, (x, step), upstream)
    gained = torch.autograd.grad(found, (x, step), upstream)
    torch.testing.assert_close(gained[0], wanted[0])
    torch.testing.assert_close(gained[1], 0.25 * wanted[1])


def test_lsq_step_gradient_is_that_of_the_paper():
    """Equation 3, value by value: -v + round(v) inside, -Qn or Qp outside."""
    quotients = torch.tensor([-9.0, -3.4, -2.6, 0.3, 0.7, 1.2, 2.9, 3.2, 12.0])
    wanted = [-3, -3, -0.4, -0.3, 0.3, -0.2, 0.1, 3, 3]
    for quotient, gradient in zip(quotients, wanted, strict=True):
        step = torch.tensor(0.5, requires_grad=True)
        round_by_learned_step(quotient * 0.5, step, -3, 3).backward()
        assert step.grad.item() == pytest.approx(gradient, abs=1e-5)


@pytest.mark.parametrize("moved", [-4, 0, 2])
def test_lsq_plus_gradients_are_those_of_the_paper(moved):
    """Step: round(u) - u inside, the end outside, u = (x - beta) / step; offset: 0 and 1."""
    x = (2 * torch.randn(500, dtype=torch.float64)).requires_grad_()
    step = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    shift = torch.tensor(moved + 0.2, dtype=torch.float64, requires_grad=True)
    beta, lower, upper = 0.25 * moved, -2, 5
    upstream = torch.randn_like(x)
    found = round_by_learned_step(x, step, lower, upper, moved=moved, shift=shift)
    found.backward(upstream)
    u = (x.detach() - beta) / 0.25
    inside = (u >= lower) & (u <= upper)
    torch.testing.assert_close(found, 0.25 * u.clamp(lower, upper).round() + beta)
    torch.testing.assert_close(x.grad, upstream * inside)
    by_step = torch.where(inside, u.round() - u, u.clamp(lower, upper))
    torch.testing.assert_close(step.grad, (upstream * by_step).sum())
    torch.testing.assert_close(shift.grad, 0.25 * (upstream * ~inside).sum())


@pytest.mark.parametrize(("lower", "upper"), [(0, 15), (-5, 10)])
def test_pact_gradients_are_the_derivatives_of_the_clip(lower, upper):
    """The clip learns from what it cuts off; for unsigned grids d/dclip = 1[x >= clip]."""
    x = torch.randn(4, 300, dtype=torch.float64).requires_grad_()
    step = torch.tensor(1.0 / upper, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(x)
    expected = smooth_twin(x, step, lower, upper, learns_inside=False)
    found = round_within_clip(x, step, lower, upper)
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(expected, (x, step), upstream)
    gained = torch.autograd.grad(found, (x, step), upstream)
    torch.testing.assert_close(gained, wanted)
    if lower == 0:
        torch.testing.assert_close(gained[1] / upper, (upstream * (x >= 1)).sum())


def test_where_nothing_is_rounded_gradients_are_finite_differences():
    """Far outside the grid every estimator is smooth, and gradcheck agrees with it."""
    x = torch.tensor([5.0, 7.0, -6.0], dtype=torch.float64, requires_grad=True)
    step = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64, requires_grad=True)
    one = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, s: round_by_learned_step(x, s, -7, 7, 0), (x, step))
    assert torch.autograd.gradcheck(lambda x, s: round_within_clip(x, s, -3, 7), (x, one))
    assert torch.autograd.gradcheck(lambda x: round_to_grid(x, one.detach(), -7, 7), (x,))


def test_nothing_and_single_numbers_are_rounded():
    """Empty tensors and tensors of shape () pass in both directions."""
    step = torch.tensor(0.5, requires_grad=True)
    empty = torch.zeros(0, 3, requires_grad=True)
    assert round_by_learned_step(empty, torch.ones(3), -1, 1, 1).shape == (0, 3)
    single = torch.tensor(0.8, requires_grad=True)
    round_by_learned_step(single, step, -7, 7).backward()
    assert (single.grad.item(), step.grad.item()) == (1, pytest.approx(0.4))


def test_permuting_channels_permutes_the_answer():
    """Channels do not see each other."""
    x, step = torch.randn(8, 20), 0.1 + torch.rand(8)
    order = torch.randperm(8)
    found = round_to_grid(x, step, -3, 3, 0)
    assert torch.equal(round_to_grid(x[order], step[order], -3, 3, 0), found[order])
