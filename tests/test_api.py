"""The public functions, in Python."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch

import bitwright
from bitwright import Precision
from bitwright.cost_models.devices import load_device
from bitwright.problems import Budget, InputError
from bitwright.search.exact import ExactSolver

from .commands.problems import RESNET18, configurations, document, write


@pytest.fixture
def problem(tmp_path):
    """The tiny problem, read from its file."""
    return bitwright.read_problem(write(tmp_path))


def test_the_same_answer_by_path_name_and_object(problem, tmp_path):
    """A path or a problem, a solver's name or the solver, a mapping or budgets: one answer."""
    answers = [
        bitwright.solve(str(tmp_path / "tiny.json"), budgets={"size_bytes": 26}),
        bitwright.solve(tmp_path / "tiny.json", budgets={"size_bytes": "26"}, solver=ExactSolver()),
        bitwright.solve(problem, budgets=[Budget.parse("size_bytes=26")], solver="exact"),
    ]
    assert answers[0].configuration == answers[1].configuration == answers[2].configuration
    assert {a.loss for a in answers} == {float(min(c[0] for c in configurations(document()) if c[1]["size_bytes"] <= 26))}  # fmt: skip
    assert pickle.loads(pickle.dumps(answers[0])) == answers[0]


def test_infeasible_is_an_answer(problem):
    """An infeasible budget raises nothing; the solution explains itself."""
    solution = bitwright.solve(problem, budgets={"size_bytes": 1})
    assert (solution.status, solution.configuration) == ("infeasible", None)
    assert "the least that any configuration takes is 16" in solution.summary()


def test_a_device_by_name_limits_solve_and_front(problem):
    """Only its bits are taken, by name or object, and both say what runs as what."""
    device = load_device("cortex_m7_cmsis_nn")
    solution = bitwright.solve(problem, device=device.name)
    assert solution == replace(bitwright.solve(problem, device=device), seconds=solution.seconds)
    assert {device.anywhere(p) for p in solution.configuration.values()} == {"int8"}
    front = bitwright.front(problem, costs=["size_bytes"], points=2, device=device.name)
    assert [point.runs_as for point in front] == [dict.fromkeys(problem.layers, "int8")] * len(front)  # fmt: skip


def test_fronts(problem):
    """Points and configurations as asked for; the hypervolume grows with the points."""
    whole = bitwright.front(problem, costs=["size_bytes"])
    some = bitwright.front(problem, costs=["size_bytes"], points=2)
    assert all(point.configuration is None for point in whole)
    assert all(problem.evaluate(problem.selection(p.configuration)).loss == p.loss for p in some)
    assert some.hypervolume((99, 9)) < whole.hypervolume((99, 9))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bitwright.solve("absent.json"), "absent.json: no such file"),
        (lambda: bitwright.solve(RESNET18, solver="exakt"), "unknown solver 'exakt'; did you mean 'exact'"),
        (lambda: bitwright.solve(RESNET18, budgets={"latncy_ms": 1}), "budget for unknown cost 'latncy_ms'; did you mean 'latency_ms'"),
        (lambda: bitwright.front(RESNET18, costs=[]), "a front needs one or more different costs"),
    ],
)  # fmt: skip
def test_bad_input_is_an_input_error(call, message):
    """Bad input raises `InputError`, which is a `ValueError`, in the words of the command line."""
    with pytest.raises(InputError, match=message):
        call()
    assert issubclass(InputError, ValueError)


def network() -> torch.nn.Module:
    """A model of somebody else's, the weights fixed."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))


def test_apply_returns_a_trainable_copy():
    """The copy runs with the bits and can be trained; the model is left as it was."""
    model, inputs = network(), torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    bits = bitwright.BitConfiguration({"0": Precision(32, 32), "2": Precision(2, 8)})
    copy = bitwright.apply(model, bits, [(inputs,), (inputs,)])
    assert torch.equal(model(inputs), network()(inputs))
    assert not torch.allclose(copy(inputs), model(inputs))
    wide = bitwright.BitConfiguration.uniform(["0", "2"], Precision(32, 32))
    assert torch.equal(bitwright.apply(model, wide, iter([(inputs,)]))(inputs), model(inputs))
    copy(inputs).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in copy.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_apply_needs_bits_and_data(problem):
    """Without a configuration, without batches, or with a layer unknown, it is one clear line."""
    bits = bitwright.BitConfiguration.uniform(["0", "2"], Precision(8, 8))
    with pytest.raises(InputError, match="the solution has no configuration to apply"):
        bitwright.apply(network(), bitwright.solve(problem, budgets={"size_bytes": 1}), [])
    with pytest.raises(InputError, match="batches is empty"):
        bitwright.apply(network(), bits, [])
    with pytest.raises(InputError, match="'head'"):
        bitwright.apply(
            network(), bitwright.BitConfiguration({"head": Precision(8, 8)}), [(torch.ones(1, 4),)]
        )
