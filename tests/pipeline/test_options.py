"""Options of calibration and QAT reach the network of a run, and export and verification go on with it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bitwright.cost_models import StoredSize
from bitwright.pipeline import measuring, stages
from bitwright.pipeline.exporting import choose, export
from bitwright.pipeline.verifying import verified_model
from bitwright.pipeline.work import Work
from bitwright.problems.formats import read_network, read_solution, read_verified
from bitwright.quantization import applied_quantizers, quantized_copy
from bitwright.quantization.quantizers import DynamicQuantizer

from .solved_run import opened, uniform
from .tiny_run import Lines, config

TRAINING = {"epochs": 1, "batch_size": 128}


def finished(runs: Path, calibration, qat, **more) -> tuple[Path, list]:
    """A run with these options, without pictures, and what its trainings were called with."""
    trainings, fit = [], measuring.fit

    def noted(model, task, recipe, **options):
        trainings.append((model, recipe, options))
        return fit(model, task, recipe, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "STAGES", [s for s in stages.STAGES if s.name != "draw"])
        patch.setattr(measuring, "fit", noted)
        settings = config(
            training=TRAINING,
            calibration={"batches": 2} | calibration,
            solutions={"small": {"size_bits": "30%"}},
            verify={"front_points": 0, "uniform": ["w8a8"], "qat": TRAINING | qat},
            **more,
        )
        return stages.carry_out(settings, runs, Lines()), trainings


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """A run whose batch norms are folded before anything is measured, and whose head has two factors."""
    options, pins = {"fold_batch_norms": True}, {"head": "w8a8-svd-3"}
    return finished(tmp_path_factory.mktemp("runs"), options, {}, pins=pins)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run with learned steps, a teacher, and grids of other rules."""
    rules = {"activation_rule": "percentile:99.9", "weight_granularity": "group:4"}
    qat = {"estimator": "lsq", "distillation": 0.5, "batch_norm_reestimation": 4}
    return finished(tmp_path_factory.mktemp("runs"), rules, qat)


def norms(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def test_a_folded_run_has_no_batch_norms(folded):
    """Neither calibration, QAT nor the verified network has any; accuracy is that of the plain network."""
    folder, trainings = folded
    work = opened(folder)
    assert norms(work.fresh_model())
    for model in (work.float_model(), verified_model(work, "small", 0)):
        assert not norms(model)
        assert not any("running_mean" in name for name in model.state_dict())
    assert all(not norms(model) for model, _, _ in trainings)
    plain = work.fresh_model()
    from safetensors.torch import load_file

    plain.load_state_dict(load_file(folder / "float.safetensors"))
    images = work.task.example_inputs()
    with torch.no_grad():
        expected = plain.eval()(*images)
        torch.testing.assert_close(work.float_model()(*images), expected, rtol=1e-4, atol=1e-4)
    assert not any("norm" in fused for layer in work.network for fused in layer.fused)


@pytest.mark.parametrize("weights", ["qat", "ptq"])
def test_a_folded_run_is_exported(folded, tmp_path, weights):
    """The file has the size that the costs say, and ONNX Runtime's classes are those of the network."""
    onnxruntime = pytest.importorskip("onnxruntime")
    folder, _ = folded
    chosen = choose(folder, "small", Lines(), weights=weights)
    document = export(chosen, "qdq", tmp_path / "net.onnx")
    network, cost = read_network(folder / "network.json"), StoredSize()
    bits = read_solution(folder / "solutions/small.json").configuration
    stored = sum(cost.cost(layer, bits[layer.name]) for layer in network)
    assert document["initializer_bytes"] == stored + cost.fixed_cost(network)
    assert document["layers"]["head"]["rank"] == 3
    model, _ = chosen.model()
    (images,), _ = next(iter(chosen.work.task.batches("test", batch_size=256)))
    run = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (found,) = run.run(None, {run.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        same = found.argmax(1) == model.eval()(images).argmax(1).numpy()
    assert same.mean() > 0.98


def test_learned_steps_and_the_teacher(learned):
    """QAT moves the steps, is taught by the float network, and measures batch norms on 4 batches."""
    folder, trainings = learned
    work = opened(folder)
    reference = work.float_model().state_dict()
    for _, recipe, options in trainings:
        assert (recipe.estimator, recipe.batch_norm_reestimation) == ("lsq", 4)
        taught = options["teacher"].state_dict()
        assert all(torch.equal(taught[name], value) for name, value in reference.items())
    point = read_verified(folder / "verified.json").point("small")
    start = quantized_copy(
        work.float_model(), point.configuration, work.calibration, estimator="lsq"
    )
    model = verified_model(work, "small", 0)
    before, after = applied_quantizers(start), applied_quantizers(model)
    for name, quantizers in after.items():
        assert not torch.equal(quantizers.weight.grid.scale, before[name].weight.grid.scale)
    # The first norm reads the stem: its mean is that over four batches, of equal weight.
    means = []
    model.get_submodule("stem").register_forward_hook(
        lambda _m, _a, out: means.append(out.mean((0, 2, 3)))
    )
    with torch.no_grad():
        for inputs, _ in islice(work.task.batches("train", batch_size=TRAINING["batch_size"]), 4):
            model(*inputs)
    torch.testing.assert_close(norms(model)[0].running_mean, torch.stack(means).mean(0))


def test_without_distillation_there_is_no_teacher(folded):
    """A recipe that asks for none gets none."""
    assert [options["teacher"] for _, _, options in folded[1]] == [None] * len(folded[1])


def test_rules_of_the_calibration_reach_the_grids(learned):
    """Clips are 99.9 % of what was seen, and four neighbouring channels share a scale, in verified networks too."""
    work = opened(learned[0])
    bits = uniform(work, "w8a8")
    layers = applied_quantizers(quantized_copy(work.float_model(), bits, work.calibration))
    for name, quantizers in layers.items():
        grid = quantizers.input.grid
        sample = work.calibration.inputs[name].sample.abs().double().numpy()
        top = float(grid.scale) * max(255 - int(grid.zero_point), int(grid.zero_point))
        assert top == pytest.approx(np.quantile(sample, 0.999), rel=0.02)
        scales = quantizers.weight.grid.scale
        whole = scales[: len(scales) // 4 * 4].reshape(-1, 4)
        assert torch.equal(whole, whole[:, :1].expand(-1, 4))
        assert len(scales.unique()) == -(-len(scales) // 4)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("weight_scheme", "affine"),
        ("weight_granularity", "tensor"),
        ("weight_rule", "minmax"),
        ("activation_scheme", "symmetric"),
        ("activation_ranges", "dynamic"),
    ],
)
def test_each_option_reaches_the_quantizers(folded, option, value):
    """On the network of a run, each option changes the grids as it says."""
    work = opened(folded[0])
    section = work.config.calibration.model_copy(update={option: value})
    changed = work.config.model_copy(update={"calibration": section})
    work = Work(changed, work.folder, Lines())
    model = work.float_model()
    quantizers = applied_quantizers(quantized_copy(model, uniform(work, "w8a8"), work.calibration))
    for name, found in quantizers.items():
        layer = model.get_submodule(name)
        if option == "weight_scheme":
            assert found.weight.grid.quant_min == 0
        elif option == "weight_granularity":
            assert found.weight.grid.scale.shape == ()
        elif option == "weight_rule":
            largest = layer.weight.detach().flatten(1).abs().amax(1)
            torch.testing.assert_close(found.weight.grid.scale, largest / 127)
        elif option == "activation_scheme":
            assert int(found.input.grid.zero_point) == 0
        else:
            assert isinstance(found.input, DynamicQuantizer)
