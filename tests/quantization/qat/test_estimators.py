"""Estimators by name: where they start, what they train, and what stays when they are removed."""

import copy
import math

import pytest
import torch
from safetensors.torch import load, save

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.quantization import (
    ESTIMATORS,
    affine_grid,
    applied_quantizers,
    apply_configuration,
    fake_quantize,
    quantized_copy,
    set_alpha,
    symmetric_grid,
)
from bitwright.quantization.qat.blending import BlendingQuantizer, alpha_at
from bitwright.quantization.qat.learned_step import (
    LearnedClipQuantizer,
    LearnedOffsetQuantizer,
    LearnedStepQuantizer,
)
from bitwright.quantization.quantizers import GridQuantizer

from ..test_apply import bytes_of, uniform

W4A4 = uniform(Precision(4, 4))


@pytest.fixture(params=sorted(ESTIMATORS))
def estimator(request):
    return request.param


def test_every_estimator_starts_at_the_calibrated_network(model, batches, calibration, estimator):
    """At the start (alpha-blending: at its end) outputs are those of plain rounding, bit for bit."""
    twin = quantized_copy(model, W4A4, calibration, estimator=estimator)
    set_alpha(twin, 1)
    with apply_configuration(model, W4A4, calibration):
        expected = model(*batches[0])
    assert torch.equal(twin(*batches[0]), expected)


def test_sixteen_bits_change_nothing_visible(model, batches, calibration, estimator):
    """Outputs differ by less than a thousandth of their spread."""
    expected = model(*batches[0])
    with apply_configuration(model, uniform(Precision(16, 16)), calibration, estimator=estimator):
        set_alpha(model, 1)
        assert (model(*batches[0]) - expected).abs().max() < 1e-3 * expected.std()


def test_removal_gives_back_every_byte(model, batches, calibration, estimator):
    """Whatever was trained beside the weights goes with the configuration."""
    before = bytes_of(model)
    with apply_configuration(model, W4A4, calibration, estimator=estimator):
        model(*batches[0]).sum().backward()
    model.zero_grad()
    assert bytes_of(model) == before
    assert not any("quantizer" in name for name, _ in model.named_parameters())


def test_the_grid_is_what_the_quantizer_rounds_to(model, batches, calibration, estimator):
    """After training moved it too: rounding by `.grid` is what the module does."""
    twin = quantized_copy(model, W4A4, calibration, estimator=estimator)
    set_alpha(twin, 1)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if name.endswith(("log_step", "offset")):
                parameter.uniform_(-0.3, 0.3)
    for found in applied_quantizers(twin).values():
        for quantizer in (found.weight, found.input):
            grid = quantizer.grid
            values = 2 * torch.randn(len(grid.scale) if grid.scale.ndim else 5, 40)
            if grid.channel_axis == 1:
                values = values.T
            assert torch.equal(quantizer(values), fake_quantize(values, grid))
            assert ((grid.zero_point >= grid.quant_min) & (grid.zero_point <= grid.quant_max)).all()


def test_a_state_dict_carries_over(model, batches, calibration, estimator):
    """Through safetensors into another copy, the outputs are the same."""
    first = quantized_copy(model, W4A4, calibration, estimator=estimator)
    other = quantized_copy(model, W4A4, calibration, estimator=estimator)
    with torch.no_grad():
        for tensor in (*first.parameters(), *first.buffers()):
            if tensor.is_floating_point():
                tensor.mul_(1.25).add_(0.01)
    set_alpha(first, 0.5)
    other.load_state_dict(load(save(first.state_dict())))
    assert torch.equal(first(*batches[0]), other(*batches[0]))


def test_a_deep_copy_is_independent(model, batches, calibration, estimator):
    """Training the copy leaves the first alone."""
    first = quantized_copy(model, W4A4, calibration, estimator=estimator)
    set_alpha(first, 0.5)
    expected = first(*batches[0])
    twin = copy.deepcopy(first)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    twin(*batches[0]).square().sum().backward()
    optimizer.step()
    assert torch.equal(first(*batches[0]), expected)
    assert not torch.equal(twin(*batches[0]), expected)


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("ste", set()),
        ("lsq", {"weight.log_step", "input.log_step"}),
        ("lsq+", {"weight.log_step", "input.log_step", "input.offset"}),
        ("pact", {"input.log_step"}),
        ("alpha", {"input.log_step"}),
    ],
)
def test_what_is_trained_gets_gradients(model, batches, calibration, name, trained):
    """The weights and just the quantizer parameters that the table names."""
    twin = quantized_copy(model, W4A4, calibration, estimator=name)
    set_alpha(twin, 0.5)
    twin(*batches[0]).square().sum().backward()
    found = set()
    for side, key in (("weight", ".parametrizations.weight.0."), ("input", "input_quantizer.")):
        for parameter, value in twin.named_parameters():
            if key in parameter:
                assert value.grad is not None
                found.add(f"{side}.{parameter.rsplit('.', 1)[1]}")
    assert found == trained
    assert all(p.grad is not None and p.grad.any() for p in twin.parameters() if p.ndim > 1)


def test_lsq_scales_the_gradient_by_the_values_that_share_the_step():
    """1 / sqrt(n Qp), n being a channel's weights, or the features of one sample."""
    for quantizer, x, n in (
        (LearnedStepQuantizer(symmetric_grid(torch.ones(6), 4, 0)), torch.randn(6, 5, 3), 15),
        (LearnedStepQuantizer(symmetric_grid(torch.tensor(1.0), 4)), torch.randn(6, 5), 30),
        (
            LearnedStepQuantizer(symmetric_grid(torch.tensor(1.0), 4), batched=True),
            torch.randn(6, 5, 2),
            10,
        ),
    ):
        quantizer(x).sum().backward()
        step = quantizer.initial_step.clone().requires_grad_()
        along = step.view(-1, 1, 1) if step.ndim else step
        v = x / along.detach()
        by_step = torch.where(v.abs() <= 7, v.round() - v, 7 * v.sign())
        wanted = by_step.flatten(1).sum(1) if step.ndim else by_step.sum()
        chain = quantizer.initial_step  # d step / d log_step
        torch.testing.assert_close(quantizer.log_step.grad, chain * wanted / math.sqrt(n * 7))


def test_steps_stay_positive():
    """However far an optimizer throws the parameter."""
    quantizer = LearnedStepQuantizer(affine_grid(torch.tensor(-1.0), torch.tensor(2.0), 4))
    with torch.no_grad():
        quantizer.log_step.fill_(-20)
    assert quantizer.step > 0
    assert quantizer.grid.scale > 0


def test_the_offset_of_lsq_plus_follows_the_values_it_clips():
    """On shifted values with a grid from zero up, training moves the grid and the error falls."""
    x = torch.randn(64, 50) - 1
    quantizer = LearnedOffsetQuantizer(
        affine_grid(torch.tensor(-0.5), torch.tensor(3.0), 4), batched=True
    )
    before = (quantizer(x) - x).square().mean().item()
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        (quantizer(x) - x).square().mean().backward()
        optimizer.step()
    assert (
        quantizer.grid.zero_point > affine_grid(torch.tensor(-0.5), torch.tensor(3.0), 4).zero_point
    )
    assert (quantizer(x) - x).square().mean().item() < before / 3


def test_pact_trains_the_clip():
    """The clip is the far end of the grid, and grows where what it cuts off is missed."""
    x = torch.rand(8, 100) * 4
    quantizer = LearnedClipQuantizer(affine_grid(torch.tensor(0.0), torch.tensor(1.0), 4))
    assert quantizer.clip.item() == pytest.approx(1)
    (quantizer(x) - x).square().mean().backward()
    assert quantizer.log_step.grad < 0


def test_alpha_zero_is_the_float_network_and_alpha_one_the_quantized(model, batches, calibration):
    """Both ends exactly, and a straight line between them for a weight."""
    twin = quantized_copy(model, W4A4, calibration, estimator="alpha")
    weight, quantizer = model.fc.weight, GridQuantizer(calibration.weight_grid("fc", 4))
    for alpha in (0, 0.3, 1):
        set_alpha(twin, alpha)
        torch.testing.assert_close(twin.fc.weight, alpha * quantizer(weight) + (1 - alpha) * weight)
    set_alpha(twin, 0)
    assert torch.equal(twin(*batches[0]), model(*batches[0]))
    set_alpha(twin, 1)
    with apply_configuration(model, W4A4, calibration):
        assert torch.equal(twin(*batches[0]), model(*batches[0]))
    with pytest.raises(InputError, match=r"alpha must be from 0 to 1, got 1\.5"):
        set_alpha(twin, 1.5)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.875, 1.0])
def test_the_gradient_of_a_blended_weight_is_one_minus_alpha(alpha):
    """Exactly, inside and outside the grid, and it agrees with finite differences."""
    grid = symmetric_grid(torch.tensor([0.5, 1.0], dtype=torch.float64), 3, 0)
    quantizer = BlendingQuantizer(GridQuantizer(grid), held=True)
    quantizer.alpha.fill_(alpha)
    weight = torch.randn(2, 30, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(weight)
    blended = quantizer(weight)
    if alpha == 1:
        assert not blended.requires_grad
        return
    (gradient,) = torch.autograd.grad(blended, weight, upstream)
    assert torch.equal(gradient, (1 - alpha) * upstream)
    # Between two halves the rounded part is constant, so differences see what is differentiated.
    middle = (grid.scale[:, None] * torch.tensor([[0.2, -1.7, 2.3], [0.1, -0.8, 9.0]])).double()
    assert torch.autograd.gradcheck(quantizer, (middle.requires_grad_(),))


def test_alpha_follows_its_schedule():
    """0 before, 1 after, 1 - ((end - t) / (end - start))^3 between."""
    assert [alpha_at(t, 0.2, 0.8) for t in (0, 0.2, 0.8, 1)] == [0, 0, 1, 1]
    assert alpha_at(0.5, 0.2, 0.8) == pytest.approx(1 - 0.5**3)
    assert alpha_at(0.5, 0.5, 0.5) == 1


def test_an_unknown_estimator_is_refused(model, calibration):
    """With the nearest name, before anything is quantized."""
    with pytest.raises(InputError, match="estimator 'lqs' is unknown; did you mean 'lsq'"):
        apply_configuration(model, BitConfiguration({}), calibration, estimator="lqs")
