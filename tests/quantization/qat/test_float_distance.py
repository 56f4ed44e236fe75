"""The loss term that pulls quantized outputs to the float ones."""

import copy

import pytest
import torch

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.quantization import quantized_copy
from bitwright.quantization.qat.float_distance import DistanceToFloat, relative_distance


def test_the_distance_is_relative_and_a_mean_over_tensors():
    """Written out for a nested output with two float tensors and a mask; scale changes nothing."""
    a, b, c, d = torch.randn(3, 4), torch.randn(3, 4), torch.randn(5), torch.randn(5)
    mask = torch.ones(3, dtype=torch.bool)
    expected = (((a - b) ** 2).sum() / (b**2).sum() + (c - d).pow(2).sum() / d.pow(2).sum()) / 2
    found = relative_distance({"boxes": a, "rest": (c, mask)}, {"boxes": b, "rest": (d, mask)})
    torch.testing.assert_close(found, expected)
    scaled = relative_distance((7 * a, c), (7 * b, d))
    torch.testing.assert_close(scaled, expected)


def test_equal_outputs_have_no_distance_and_no_gradient():
    """Also where the reference is zero."""
    for value in (torch.randn(3), torch.zeros(3)):
        outputs = value.clone().requires_grad_()
        distance = relative_distance(outputs, value)
        distance.backward()
        assert distance.item() == 0
        assert not outputs.grad.any()


@pytest.mark.parametrize(
    ("outputs", "reference"),
    [
        (torch.ones(2), torch.ones(3)),
        ((torch.ones(2),), (torch.ones(2), torch.ones(2))),
        (torch.ones(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64)),
    ],
)
def test_outputs_that_cannot_be_compared_are_refused(outputs, reference):
    """The error shows the shapes of both."""
    with pytest.raises(InputError, match=r"outputs of shapes \[.*have no distance to a reference"):
        relative_distance(outputs, reference)


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_a_weight_below_zero_is_refused(model, weight):
    """It would push the outputs apart."""
    with pytest.raises(InputError, match="weight of the loss term must be from 0 up"):
        DistanceToFloat(model, weight)


def test_a_step_along_the_term_brings_a_quantized_network_nearer(model, batches, calibration):
    """Training on the term alone lowers it, and leaves the reference, in evaluation mode, alone."""
    before = copy.deepcopy(model.state_dict())
    term = DistanceToFloat(model.train(), weight=2.0)
    layers = ("stem", "shared", "up", "fc")
    configuration = BitConfiguration.uniform(layers, Precision(3, 4))
    student = quantized_copy(model.eval(), configuration, calibration)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01)
    (inputs,) = batches[:1]
    distances = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = term(inputs, student(*inputs))
        torch.testing.assert_close(loss, 2 * relative_distance(student(*inputs), model(*inputs)))
        loss.backward()
        optimizer.step()
        distances.append(loss.item())
    assert min(distances[-5:]) < 0.8 * distances[0]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
