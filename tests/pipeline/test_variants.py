"""Variants measured on real digits: hybrid against integer activations, and truncated SVD in an allocation."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import bitwright
from bitwright.cli import main
from bitwright.cost_models import BitOperations, WeightSize, tabulate
from bitwright.networks import read_network
from bitwright.networks.nonlinear import nonlinear_preactivations
from bitwright.pipeline.evaluating import evaluate
from bitwright.pipeline.offering import offered_precisions
from bitwright.pipeline.stages import carry_out
from bitwright.plots import draw_front
from bitwright.problems import BitConfiguration, CriticalClasses, InputError, Precision
from bitwright.problems.formats import read_problem, read_solution, write_problem
from bitwright.problems.problem import AllocationProblem, Choice, LayerChoices
from bitwright.problems.protocols import ScoringContext
from bitwright.quantization import TrainingRecipe, apply_configuration, calibrate, fit
from bitwright.quantization.variants import output_quantizers
from bitwright.run_config import VariantsSection
from bitwright.significance import clean_up
from bitwright.significance.measured import OverallSignificance
from bitwright.tasks import Digits

from ..pictures import check_written
from .tiny_run import Lines, config


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def swish_network():
    """Three convolutions with batch norm and SiLU."""
    layers = []
    for inputs, outputs, stride in ((1, 16, 1), (16, 24, 2), (24, 32, 2)):
        convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.SiLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def matrices():
    """Three fully connected layers."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10)
    )


def trained(build, task, seed, **recipe):
    torch.manual_seed(seed)
    model = build()
    fit(
        model,
        task,
        TrainingRecipe(epochs=20, batch_size=32, learning_rate=0.005, **recipe),
        seed=seed,
    )
    batches = [inputs for inputs, _ in task.batches("train", batch_size=64)][:8]
    return model, read_network(model, task.example_inputs()), batches


def loss_on_test(model, task, configuration, calibration):
    with apply_configuration(model, configuration, calibration):
        return float(evaluate(model, task, "test").losses["classification"].mean())


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_hybrid_loses_no_more_than_integer_activations(seed):
    """On digits with W4-8 and A4-6: less at 4 and 5 bits, and nothing to speak of at 6."""
    task = Digits(noise=0.2)
    model, traced, batches = trained(
        swish_network, task, seed, schedule="cosine", weight_decay=0.01
    )
    nonlinear = nonlinear_preactivations(traced)
    assert len(nonlinear) == 3
    calibration = calibrate(model, traced.description, batches, observe_outputs=nonlinear)

    def loss(weight_bits, activation_bits, variant):
        forms = {
            name: Precision(weight_bits, activation_bits, variant if name in nonlinear else "")
            for name in traced.description.names
        }
        return loss_on_test(model, task, BitConfiguration(forms), calibration)

    for weight_bits in (4, 8):
        gains = [
            loss(weight_bits, a, "integer") - loss(weight_bits, a, "hybrid") for a in (4, 5, 6)
        ]
        assert gains[0] > gains[1] > 0
        assert gains[2] > -0.01


@pytest.fixture(scope="module")
def low_rank(tmp_path_factory):
    """A problem over three matrices with and without SVD, and the means to measure an answer."""
    task = Digits()
    model, traced, batches = trained(matrices, task, 0, weight_decay=0.01)
    network = traced.description
    calibration = calibrate(model, network, batches)
    precisions = tuple(Precision(bits, 8) for bits in (2, 3, 4, 6))
    section = VariantsSection(svd=(0.25, 0.4, 0.6))
    candidates = offered_precisions(network, precisions, section, ())
    table = OverallSignificance().measure(
        ScoringContext(
            model=model, task=task, network=network, candidates=candidates, critical=CriticalClasses(()),
            quantize=lambda c: apply_configuration(model, c, calibration), quantization="test",
            folder=tmp_path_factory.mktemp("scores") / "significance", progress=lambda *_: None,
        )
    )  # fmt: skip
    scores, _ = clean_up(table.scores, table.precisions)
    cell = {
        (name, precision): float(scores[i, j])
        for i, name in enumerate(table.components)
        for j, precision in enumerate(table.precisions)
    }
    costs = tabulate(network, candidates, [WeightSize(), BitOperations()])

    def problem(wanted):
        return AllocationProblem.from_layers(
            "matrices",
            [
                LayerChoices(name, tuple(Choice(p, cell[name, p], costs.of[name][p]) for p in offered if wanted(p)))
                for name, offered in candidates.items()
            ],
        )  # fmt: skip

    def measured(configuration):
        return loss_on_test(model, task, configuration, calibration)

    return problem(lambda _: True), problem(lambda p: not p.variant), measured, network.parameters


def test_the_allocator_takes_a_rank_where_it_pays(low_rank):
    """At 2.25 bits a weight: a lower loss, predicted and measured on other data, within the budget."""
    with_ranks, without, measured, weights = low_rank
    budget = {"size_bits": int(2.25 * weights)}
    ours, plain = (bitwright.solve(p, budgets=budget) for p in (with_ranks, without))
    variants = [p.variant for p in ours.configuration.values()]
    assert any(v.startswith("svd-") for v in variants)
    assert max(ours.costs["size_bits"], plain.costs["size_bits"]) <= budget["size_bits"]
    assert ours.loss < 0.5 * plain.loss
    assert measured(ours.configuration) < measured(plain.configuration)


def test_ranks_go_where_no_plain_integers_can(low_rank):
    """Below 2 bits a weight there is no plain answer, and with ranks there is one."""
    with_ranks, without, _, weights = low_rank
    budget = {"size_bits": int(1.5 * weights)}
    assert not bitwright.solve(without, budgets=budget).status.has_answer
    assert bitwright.solve(with_ranks, budgets=budget).status.has_answer


def test_a_problem_with_variants_survives_its_files_and_is_shown(low_rank, tmp_path, capsys):
    """JSON and CSV keep the variants, `solve` names them, and the picture of a front marks them."""
    problem = low_rank[0]
    for suffix in ("json", "csv"):
        path = tmp_path / f"matrices.{suffix}"
        write_problem(problem, path)
        again = read_problem(path)
        for name in problem.layers:
            kept = [(problem.precision(j), problem.loss[j]) for j in problem.span(name)]
            assert [(again.precision(j), again.loss[j]) for j in again.span(name)] == kept
    budget = f"size_bits={int(1.5 * low_rank[3])}"
    path = str(tmp_path / "matrices.csv")
    assert main(["solve", path, "--budget", budget]) == 0
    shown = capsys.readouterr().out
    answer = bitwright.solve(problem, budgets={"size_bits": int(1.5 * low_rank[3])})
    for precision in answer.configuration.values():
        assert precision.label in shown
    chosen = bitwright.front(problem, costs=["size_bits"], points=6)
    figure = draw_front(chosen, chosen=chosen)
    texts = [t.get_text() for axis in figure.axes for t in (axis.get_legend().get_texts() if axis.get_legend() else ())]  # fmt: skip
    assert any(text == "* svd-K" for text in texts)
    (tmp_path / "pictures").mkdir()
    check_written(figure, tmp_path / "pictures")


def test_a_run_offers_scores_solves_and_verifies_variants(tmp_path, monkeypatch):
    """Both forms of each precision before a SiLU, ranks of the head, and every file reads back."""

    def build(_):
        layers = [nn.Conv2d(1, 16, 3, 2, bias=False), nn.BatchNorm2d(16), nn.SiLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(144, 10))

    monkeypatch.setattr(Digits, "build_model", build)
    folder = carry_out(
        config(
            training={"epochs": 4, "batch_size": 64},
            precisions=["w4a4", "w8a8"],
            variants={"hybrid": "choice", "svd": [0.6]},
            solutions={"small": {"size_bits": "20%"}},
            verify={"front_points": 2, "uniform": ["w4a4"], "qat": {"epochs": 1, "batch_size": 64}},
        ),
        tmp_path,
        Lines(),
    )
    problem = read_problem(folder / "problem.json")
    offered = {n: {problem.precision(j).label for j in problem.span(n)} for n in problem.layers}
    assert offered == {
        "0": {"w4a4-hybrid", "w4a4-integer", "w8a8-hybrid", "w8a8-integer"},
        "4": {"w4a4", "w4a4-svd-5", "w8a8", "w8a8-svd-5"},  # 0.6 of 1440 / 154 = 9.35
    }
    solution = read_solution(folder / "solutions/small.json")
    assert solution.configuration["4"].variant == "svd-5"
    verified = json.loads((folder / "verified.json").read_text())
    uniform = next(p for p in verified["points"] if p["kind"] == "uniform")
    assert [bits["variant"] for bits in uniform["bits"].values()] == ["hybrid", ""]
    assert all(p["qat"] is not None for p in verified["points"])


def test_apply_puts_variants_on_somebodys_own_model():
    """Ranges of rounded outputs are found by themselves; a layer that cannot take one is named."""
    torch.manual_seed(0)
    model = swish_network().eval()
    batches = [(torch.randn(8, 1, 8, 8),)]
    forms = {"0": Precision(4, 4, "integer"), "3": Precision(4, 4, "hybrid")}
    forms["11"] = Precision(8, 8, "svd-5")
    twin = bitwright.apply(model, BitConfiguration(forms), batches)
    assert list(output_quantizers(twin)) == ["1"]
    assert torch.linalg.matrix_rank(twin.get_submodule("11").weight) == 5
    with pytest.raises(
        InputError, match="layer '11': w4a4-integer is for layers before a nonlinear"
    ):
        bitwright.apply(model, BitConfiguration({"11": Precision(4, 4, "integer")}), batches)
