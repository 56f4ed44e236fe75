"""Rounding to a grid with its gradients, in few passes over memory.

Codes are `clip(round(x * (1 / step)), lower, upper)`, values `step * code`, as `torch.fake_quantize_*`
computes them: bit for bit for finite values whose codes int64 can hold. Beyond that NaN stays NaN and
infinity goes to its own end of the grid, where torch takes the lowest level for both.

Every pass works on blocks that fit into the cache of a core, and backward recomputes what it needs
from the input: no mask is stored. `step` has shape (), or (channels,) with `axis`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 2**16
"""Values per block and thread; with several arrays in use this stays within a core's cache."""

_zero_outside = torch.ops.aten.hardtanh_backward.grad_input


def round_to_grid(
    tensor: Tensor, step: Tensor, lower: int, upper: int, axis: int | None = None
) -> Tensor:
    """Nearest levels; the gradient passes where the code is within the grid and is 0 elsewhere."""
    return _in_full_precision(_RoundToGrid, tensor, step, lower, upper, axis)


def round_by_learned_step(
    tensor: Tensor,
    step: Tensor,
    lower: int,
    upper: int,
    axis: int | None = None,
    *,
    gradient_scale: float = 1.0,
    moved: int = 0,
    shift: Tensor | None = None,
) -> Tensor:
    """Nearest levels, with the gradients of LSQ (Esser et al. 2020, eq. 3 and 5).

    With v = tensor / step the step's gradient is round(v) - v inside the grid and the code outside,
    times `gradient_scale`. `moved` shifts the grid by whole steps; `shift`, of shape (), is what it
    was rounded from, and gets the gradient of LSQ+ (Bhalgat et al. 2020) for the offset step *
    shift: the step outside the grid, 0 inside. The step's gradient outside is then the code before
    the move.
    """
    return _in_full_precision(
        _RoundByLearnedStep, tensor, step, lower, upper, axis, gradient_scale, moved, shift
    )


def round_within_clip(tensor: Tensor, step: Tensor, lower: int, upper: int) -> Tensor:
    """Nearest levels, with the gradients of PACT (Choi et al. 2018, eq. 3): the clip alone learns.

    The step's gradient is the code where the tensor is clipped and 0 inside, lower <= v < upper.
    """
    return _in_full_precision(_RoundWithinClip, tensor, step, lower, upper)


def _in_full_precision(function: Any, tensor: Tensor, *options: Any) -> Tensor:
    """Shorter floats, as autocast makes them, are too coarse to be divided into steps."""
    if tensor.dtype in (torch.float32, torch.float64):
        return function.apply(tensor, *options)  # type: ignore[no-any-return]
    return function.apply(tensor.float(), *options).to(tensor.dtype)  # type: ignore[no-any-return]


class _RoundToGrid(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - `apply` takes no keywords
        ctx: Any, tensor: Tensor, step: Tensor, lower: int, upper: int, axis: int | None
    ) -> Tensor:
        ctx.save_for_backward(tensor, step)
        ctx.limits, ctx.axis = _rounding_limits(lower, upper, tensor.dtype), axis
        return _levels(tensor, step, lower, upper, axis)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensor, step = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients: nothing in place
            quotient = tensor.detach() * _along(step, ctx.axis, tensor).reciprocal()
            below, above = ctx.limits
            inside = (quotient > below) & (quotient < above)
            return torch.where(inside, gradient, 0), None, None, None, None
        passed = torch.empty_like(tensor)
        for x, g, p, s in _blocks(step, ctx.axis, tensor, gradient, passed):
            _pass_inside(x, g, s, ctx.limits, out=p)
        return passed, None, None, None, None


class _RoundByLearnedStep(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - `apply` takes no keywords
        ctx: Any,
        tensor: Tensor,
        step: Tensor,
        lower: int,
        upper: int,
        axis: int | None,
        gradient_scale: float,
        moved: int,
        shift: Tensor | None,
    ) -> Tensor:
        lower, upper = lower + moved, upper + moved
        levels = _levels(tensor, step, lower, upper, axis)
        ctx.save_for_backward(tensor, step, levels)
        ctx.limits = _next(lower, -math.inf, tensor.dtype), _next(upper, math.inf, tensor.dtype)
        ctx.axis, ctx.moved, ctx.has_shift = axis, moved, shift is not None
        ctx.gradient_scale = gradient_scale
        return levels

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensor, step, levels = ctx.saved_tensors
        passed = torch.empty_like(tensor)
        of_step, of_shift = [], []
        work = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        for x, g, y, p, s in _blocks(step, ctx.axis, tensor, gradient, levels, passed):
            _pass_inside(x, g, s, ctx.limits, out=p)
            # step * (g (code - v) inside, g code outside) = g level - (g inside) x
            work = torch.mul(g, y, out=work.resize_(0)).addcmul_(p, x, value=-1)
            of_step.append(_sums(work, ctx.axis))
            if ctx.has_shift:
                of_shift.append(g.sum() - p.sum())
        step_gradient = _joined(of_step, ctx.axis) / step
        shift_gradient = None
        if ctx.has_shift:
            outside = torch.stack(of_shift).sum()
            step_gradient -= ctx.moved * outside
            shift_gradient = outside * step * ctx.gradient_scale
        step_gradient *= ctx.gradient_scale
        return passed, step_gradient, None, None, None, None, None, shift_gradient


class _RoundWithinClip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, step: Tensor, lower: int, upper: int) -> Tensor:
        levels = _levels(tensor, step, lower, upper, None)
        ctx.save_for_backward(tensor, step, levels)
        ctx.limits = _next(lower, -math.inf, tensor.dtype), float(upper)
        return levels

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensor, step, levels = ctx.saved_tensors
        passed = torch.empty_like(tensor)
        sums = []
        for x, g, y, p, s in _blocks(step, None, tensor, gradient, levels, passed):
            _pass_inside(x, g, s, ctx.limits, out=p)
            sums.append((g - p).mul_(y).sum())
        return passed, _joined(sums, None) / step, None, None


def _levels(tensor: Tensor, step: Tensor, lower: int, upper: int, axis: int | None) -> Tensor:
    levels = torch.empty_like(tensor)
    for x, y, s in _blocks(step, axis, tensor, levels):
        # Adding zero turns -0.0 into the 0.0 that comes from integer codes.
        torch.mul(x, s.reciprocal(), out=y).round_().clamp_(lower, upper).add_(0.0).mul_(s)
    return levels


def _pass_inside(x: Tensor, g: Tensor, s: Tensor, limits: tuple[float, float], out: Tensor) -> None:
    """Write the gradient where x / s lies strictly between the limits, and 0 elsewhere."""
    torch.mul(x, s.reciprocal(), out=out)
    _zero_outside(g, out, *limits, grad_input=out)


def _blocks(step: Tensor, axis: int | None, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same block of every tensor, as views with the axis in front, and its part of the step."""
    views = [t.reshape(1) if t.ndim == 0 else t.movedim(axis or 0, 0) for t in tensors]
    rows = len(views[0])
    length = max(1, math.ceil(views[0].numel() / max(1, rows)))
    size = BLOCK * torch.get_num_threads() // length if tensors[0].is_cpu else rows
    steps = step if axis is None else _along(step, 0, views[0])
    for start in range(0, rows, max(1, size)):
        part = slice(start, start + max(1, size))
        yield *(view[part] for view in views), steps if axis is None else steps[part]


def _along(step: Tensor, axis: int | None, tensor: Tensor) -> Tensor:
    """The step in a shape that broadcasts against the tensor."""
    if axis is None:
        return step
    return step.view([-1 if d == axis % tensor.ndim else 1 for d in range(tensor.ndim)])


def _sums(values: Tensor, axis: int | None) -> Tensor:
    """The sum of a block, or those of its rows."""
    return values.sum() if axis is None else values.unsqueeze(-1).flatten(1).sum(1)


def _joined(parts: list[Tensor], axis: int | None) -> Tensor:
    return torch.stack(parts).sum() if axis is None else torch.cat(parts)


def _rounding_limits(lower: int, upper: int, dtype: torch.dtype) -> tuple[float, float]:
    """Limits strictly between which quotients round to codes of the grid; halves round to even."""
    below, above = lower - 0.5, upper + 0.5
    return (
        _next(below, -math.inf, dtype) if lower % 2 == 0 else below,
        _next(above, math.inf, dtype) if upper % 2 == 0 else above,
    )


def _next(value: float, towards: float, dtype: torch.dtype) -> float:
    kind = np.float64 if dtype == torch.float64 else np.float32
    return float(np.nextafter(kind(value), kind(towards)))
