"""Truncated SVD against numpy, by hand, and in training."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bitwright.networks import read_network
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.quantization import applied_quantizers, apply_configuration, calibrate, fake_quantize
from bitwright.quantization.grids import symmetric_grid
from bitwright.quantization.low_rank import LowRankWeight, low_rank_weight, offered_ranks

from .test_apply import bytes_of


def matrix(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (9, 9)])
@pytest.mark.parametrize("rank", [1, 3, 6])
def test_the_error_in_float_is_that_of_eckart_and_young(shape, rank):
    """The squared error is the sum of the squared singular values left out, by numpy."""
    weight = matrix(*shape)
    approximated = LowRankWeight(weight, rank, None)(weight)
    values = np.linalg.svd(weight.double().numpy(), compute_uv=False)
    assert (weight - approximated).double().square().sum().item() == pytest.approx(
        (values[rank:] ** 2).sum(), rel=1e-5
    )
    assert np.linalg.matrix_rank(approximated.numpy(), tol=1e-4) == rank


def full_range(rows, bits):
    return rows.abs().amax(dim=1)


def best_range(rows, bits):
    """The part of each row's range, in hundredths from 1 to 0.2, that leaves the least error."""
    best, least = full_range(rows, bits), torch.full((len(rows),), torch.inf)
    for hundredth in range(100, 19, -1):
        kept = hundredth / 100 * full_range(rows, bits)
        error = (fake_quantize(rows, symmetric_grid(kept, bits, 0)) - rows).square().sum(dim=1)
        best = torch.where(error < least, kept, best)
        least = torch.minimum(error, least)
    return best


@pytest.mark.parametrize(("rule", "range_of"), [("minmax", full_range), ("mse", best_range)])
def test_each_factor_is_quantized_row_by_row(rule, range_of):
    """The weight is the product of numpy's U sqrt(S) and sqrt(S) V^T, rounded on grids of their own."""
    model = nn.Sequential(nn.Linear(30, 12))
    weight, inputs = model[0].weight.detach(), torch.randn(3, 30)
    network = read_network(model, (inputs,)).description
    calibration = calibrate(model, network, [(inputs,)], weight_rule=rule)
    u, s, vt = (torch.from_numpy(a) for a in np.linalg.svd(weight.numpy(), full_matrices=False))
    root = s[:4].sqrt()
    rounded = [
        fake_quantize(f.contiguous(), symmetric_grid(range_of(f, 4), 4, 0))
        for f in (u[:, :4] * root, root[:, None] * vt[:4])
    ]
    found = low_rank_weight("0", Precision(4, 8, "svd-4"), calibration)(weight)
    # The sign of a singular pair is free, and grids are symmetric; the last bit may move one step.
    assert F.mse_loss(found, rounded[0] @ rounded[1]) < 1e-4 * found.var()


def test_more_rank_than_the_matrix_has_is_no_harm():
    """Singular values of zero are left out, and nothing is divided by them."""
    weight = matrix(8, 2) @ matrix(2, 8)
    for value in (weight, torch.zeros(8, 8)):
        assert torch.allclose(LowRankWeight(value, 4, None)(value), value, atol=1e-5)


def test_gradients_reach_the_weight_through_both_factors():
    """They agree with finite differences, in float64, where nothing is rounded."""
    weight = matrix(5, 6).double()
    factored = LowRankWeight(weight, 2, None).double()
    assert torch.autograd.gradcheck(factored, (weight.requires_grad_(),))


def test_a_configuration_puts_the_factors_to_work(model, network, batches):
    """The layer computes with the product; removal gives back every byte."""
    before, calibration = bytes_of(model), calibrate(model, network, batches)
    configuration = BitConfiguration({"fc": Precision(6, 8, "svd-2")})
    original = model.fc.weight.detach().clone()
    expected = low_rank_weight("fc", configuration["fc"], calibration)(original)
    with apply_configuration(model, configuration, calibration):
        assert torch.equal(model.fc.weight, expected)
        quantizer = applied_quantizers(model)["fc"].weight
        assert (quantizer.left.grid.quant_max, quantizer.right.grid.quant_max) == (31, 31)
        with pytest.raises(InputError, match="'svd-2' has two grids"):
            _ = quantizer.grid
        twin = copy.deepcopy(model)
    assert bytes_of(model) == before
    assert torch.equal(twin.fc.weight, expected)


def test_training_keeps_the_rank_and_moves_the_weight():
    """Steps on a low-rank layer move its original weight, lower the loss, and raise no rank."""
    inputs, target = matrix(64, 12), matrix(64, 9)
    model = nn.Sequential(nn.Linear(12, 9))
    calibration = calibrate(model, read_network(model, (inputs,)).description, [(inputs,)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    before, losses = model[0].weight.detach().clone(), []
    with apply_configuration(model, BitConfiguration({"0": Precision(8, 8, "svd-3")}), calibration):
        for _ in range(20):
            optimizer.zero_grad()
            loss = F.mse_loss(model(inputs), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert np.linalg.matrix_rank(model[0].weight.detach().numpy(), tol=1e-4) == 3
    assert losses[-1] < losses[0]
    assert not torch.equal(model[0].weight, before)


def test_offered_ranks_lie_below_break_even():
    """Shares of 1000 x 2048 / 3048 = 671.9; a share of one is the largest rank that still saves."""
    assert offered_ranks(1000, 2048, (0.5, 0.25, 1.0)) == (167, 335, 671)
    assert offered_ranks(3, 3, (0.1, 0.5, 1.0)) == (1,)
    assert offered_ranks(1, 40, (0.5,)) == ()
