"""What a recipe adds to training, each against its formula, and all of it killed and resumed."""

import copy
import math
import multiprocessing
import signal
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.quantization import (
    calibrate,
    fake_quantize,
    fit,
    quantized_copy,
    reestimate_batch_norms,
    set_alpha,
)
from bitwright.quantization.qat.blending import blending_quantizers
from bitwright.quantization.qat.distillation import Teacher, output_distance
from bitwright.quantization.qat.training_hooks import (
    AlphaSchedule,
    Dampening,
    WeightAverage,
    distance_to_levels,
)

from ..spots import OPTIONS, RECIPE, Spots, small_model, train_option_until_killed
from .test_training import Interruption, assert_same_state, interrupt_after


def quantized(estimator="lsq", seed=0):
    model = small_model(seed)
    batches = [x for x, _ in Spots().batches("train", batch_size=32)]
    network = read_network(model, batches[0]).description
    configuration = BitConfiguration.uniform(network.names, Precision(3, 4))
    return quantized_copy(
        model, configuration, calibrate(model, network, batches), estimator=estimator
    )


def trained(option, **kwargs):
    recipe = replace(RECIPE, **OPTIONS[option])
    model = quantized(recipe.estimator)
    loss = fit(model, Spots(), recipe, seed=3, teacher=small_model(5), **kwargs)
    return model, loss


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_every_option_is_deterministic_and_resumes_bit_for_bit(tmp_path, option):
    """Stopped after two of four epochs and started anew, weights and loss are those of one go."""
    expected, loss = trained(option)
    file = tmp_path / "training.pt"
    with pytest.raises(Interruption):
        trained(option, checkpoint=file, progress=interrupt_after(2))
    resumed, resumed_loss = trained(option, checkpoint=file)
    assert resumed_loss == loss
    assert_same_state(resumed, expected)


def test_options_change_what_is_trained():
    """Each option ends with other weights or statistics than the plain training by its estimator."""
    plain = {name: trained(name)[0] for name in ("ste", "lsq")}
    options = (
        "dampening",
        "weight_average",
        "batch_norms",
        "distillation",
        "float_distance",
        "bf16",
    )
    for option in options:
        model, base = trained(option)[0], plain[OPTIONS[option].get("estimator", "ste")]
        states = zip(model.state_dict().values(), base.state_dict().values(), strict=True)
        assert any(not torch.equal(a, b) for a, b in states), option


def test_a_killed_training_with_everything_ends_as_an_unbroken_one(tmp_path):
    """Killed by the system in the midst of an epoch."""
    file = tmp_path / "training.pt"
    process = multiprocessing.get_context("spawn").Process(
        target=train_option_until_killed, args=(file, 7)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert file.exists()
    recipe = replace(RECIPE, **OPTIONS["everything"])
    ends = []
    for checkpoint in (file, None):
        model = small_model()
        fit(model, Spots(), recipe, seed=3, checkpoint=checkpoint, teacher=small_model(5))
        ends.append(model)
    assert_same_state(*ends)


def test_a_checkpoint_of_another_teacher_is_refused(tmp_path):
    """The teacher is part of what a training depends on, and must be there."""
    recipe, file = replace(RECIPE, epochs=1, distillation=0.5), tmp_path / "training.pt"
    fit(small_model(), Spots(), recipe, seed=3, checkpoint=file, teacher=small_model(5))
    with pytest.raises(InputError, match="belongs to another training: teacher was"):
        fit(small_model(), Spots(), recipe, seed=3, checkpoint=file, teacher=small_model(6))
    with pytest.raises(InputError, match="distillation needs a teacher, got none"):
        fit(small_model(), Spots(), recipe, seed=3)


def test_alpha_reaches_one_and_gradients_follow_it():
    """Set before every step by the part of the steps that is done, and 1 at the end."""
    model, seen = quantized("alpha"), []
    hook = AlphaSchedule(model, 0.25, 0.75)
    for time in (0.0, 0.25, 0.5, 0.75):
        hook.before_step(time)
        seen.append({float(q.alpha) for q in blending_quantizers(model)})
    assert seen == [{0.0}, {0.0}, {1 - 0.5**3}, {1.0}]
    set_alpha(model, 0)
    hook.finish()
    assert {float(q.alpha) for q in blending_quantizers(model)} == {1.0}


def test_dampening_is_its_formula():
    """Value and gradient by hand, levels held, weights beyond the grid not pulled."""
    model = quantized("lsq")
    name = "0.parametrizations.weight"
    weight, quantizer = model.get_parameter(f"{name}.original"), model.get_submodule(f"{name}.0")
    with torch.no_grad():
        weight[0] *= 10
    grid = quantizer.grid
    levels = fake_quantize(weight.detach(), grid)
    top = (grid.scale * grid.quant_max).view(-1, 1, 1, 1)
    twin = weight.detach().clone().requires_grad_()
    clipped = torch.minimum(torch.maximum(twin, -top), top)
    expected = (levels - clipped).square().sum()
    found = distance_to_levels(weight, quantizer)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, weight)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, twin)[0])
    assert (gradient[(weight.detach().abs() > top.expand_as(weight))] == 0).all()
    terms = sum(
        distance_to_levels(model.get_parameter(f"{n}.original"), model.get_submodule(f"{n}.0"))
        for n in (f"{layer}.parametrizations.weight" for layer in ("0", "4", "8"))
    )
    hook = Dampening(model, 0.1)
    assert hook.penalty(0.0) is None
    assert hook.penalty(0.5).item() == pytest.approx(0.05 * terms.item(), rel=1e-5)
    assert hook.penalty(1.0).item() == pytest.approx(0.1 * terms.item(), rel=1e-5)


def test_dampening_draws_weights_to_their_levels():
    """A training with it leaves latent weights nearer to their levels than one without."""
    distances = []
    for dampening in (0.0, 30.0):
        model = quantized("lsq")
        fit(model, Spots(), replace(RECIPE, dampening=dampening, gradient_clip_norm=None), seed=3)
        distances.append(
            sum(
                distance_to_levels(
                    model.get_parameter(f"{n}.parametrizations.weight.original"),
                    model.get_submodule(f"{n}.parametrizations.weight.0"),
                ).item()
                for n in ("0", "4", "8")
            )
        )
    assert distances[1] < distances[0] / 2


def test_the_weight_average_is_the_recursion_written_out():
    """a <- d a + (1 - d) w, d = min(decay, (1 + k) / (10 + k)), for weights and norm statistics."""
    model = small_model()
    average = WeightAverage(model, 0.25)
    wanted = {k: v.clone() for k, v in model.state_dict().items() if v.is_floating_point()}
    for step in range(1, 6):
        with torch.no_grad():
            for value in model.state_dict().values():
                if value.is_floating_point():
                    value.add_(torch.randn_like(value))
        average.after_step()
        decay = min(0.25, (1 + step) / (10 + step))
        for name, value in wanted.items():
            wanted[name] = decay * value + (1 - decay) * model.state_dict()[name]
    last = copy.deepcopy(model.state_dict())
    with average.in_use():
        for name, value in wanted.items():
            torch.testing.assert_close(model.state_dict()[name], value)
    assert all(torch.equal(value, last[name]) for name, value in model.state_dict().items())
    average.finish()
    torch.testing.assert_close(model.state_dict()["0.weight"], wanted["0.weight"])


def test_reestimated_batch_norms_hold_the_mean_statistics_of_the_batches():
    """The first norm's are those of its inputs; modes, momentum and everything else stay."""
    model = small_model().train()
    batches = [x for x, _ in Spots(count=128).batches("train", batch_size=32)]
    before = copy.deepcopy(model.state_dict())
    reestimate_batch_norms(model, iter(batches), 3)
    inputs = [model[0](x).transpose(0, 1).flatten(1) for (x,) in batches[:3]]
    torch.testing.assert_close(model[1].running_mean, sum(v.mean(1) for v in inputs) / 3)
    torch.testing.assert_close(model[1].running_var, sum(v.var(1) for v in inputs) / 3)
    assert all(module.training for module in model.modules())
    assert [model[1].momentum, model[5].momentum] == [0.1, 0.1]
    assert all(
        torch.equal(value, before[name])
        for name, value in model.state_dict().items()
        if "running" not in name and "num_batches" not in name
    )
    reestimate_batch_norms(nn.Linear(2, 2), iter([]))


def test_logits_are_distilled_by_their_divergence_and_the_rest_by_squares():
    """T^2 KL written out; 0 for equal outputs; nested outputs add up."""
    one, other = torch.randn(6, 5), torch.randn(6, 5)
    p, q = F.softmax(other / 4, 1), F.softmax(one / 4, 1)
    expected = 16 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(output_distance(one, other, 4.0), expected)
    assert output_distance(one, one, 2.0).item() == pytest.approx(0, abs=1e-6)
    boxes, others, labels = torch.randn(6, 5, 4), torch.randn(6, 5, 4), torch.arange(3)
    nested = output_distance(
        {"logits": one, "boxes": [boxes, labels]}, {"logits": other, "boxes": [others, labels]}, 4.0
    )
    torch.testing.assert_close(nested, expected + (boxes - others).square().mean())
    with pytest.raises(InputError, match="the outputs hold no float tensor to distil"):
        output_distance(labels, labels, 1.0)


def test_a_task_may_measure_the_distance_to_the_teacher_itself():
    """Its `distillation_loss` is taken; with weight 1 the task's own loss is not."""

    class OwnDistance(Spots):
        def distillation_loss(self, student, teacher, temperature):
            self.seen = temperature
            return (student * 0).sum() + 7.0

    task = OwnDistance()
    recipe = replace(RECIPE, epochs=1, distillation=1.0, distillation_temperature=3.0)
    assert fit(small_model(), task, recipe, seed=0, teacher=small_model()) == pytest.approx(7)
    assert task.seen == 3


def test_the_distance_to_the_float_outputs_is_added():
    """The loss of a step is the task's own and the weighted relative distance, by hand."""
    inputs, targets = (torch.randn(5, 3),), torch.tensor([0, 1, 2, 0, 1])
    teacher, student = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
    outputs, wanted = student(*inputs), teacher(*inputs)
    loss = torch.nn.functional.cross_entropy(outputs, targets)
    distance = (outputs - wanted).square().sum() / wanted.square().sum()
    added = Teacher(teacher, object(), 0.0, 1.0, pull=0.5).blended(loss, inputs, outputs)
    torch.testing.assert_close(added, loss + 0.5 * distance)
    with pytest.raises(InputError, match="float_distance needs a teacher, got none"):
        fit(small_model(), Spots(), replace(RECIPE, float_distance=1.0), seed=3)


def test_early_stop_keeps_the_best_epoch():
    """Losses on `mine` 3, 1, 2, 4: it ends after two worse epochs with the weights of the second."""

    class Scripted(Spots):
        losses = (3.0, 1.0, 2.0, 4.0, 0.0)
        asked = 0

        def batches(self, split, **options):
            batches = list(super().batches(split, **options))
            if split != "mine":
                return batches
            type(self).asked += 1
            return batches[:1]

        def training_loss(self, outputs, targets):
            loss = super().training_loss(outputs, targets)
            return loss if torch.is_grad_enabled() else loss * 0 + self.losses[self.asked - 1]

    recipe, states, model = replace(RECIPE, epochs=5, early_stop_patience=2), [], small_model()
    fit(
        model,
        Scripted(),
        recipe,
        seed=3,
        progress=lambda *_: states.append(copy.deepcopy(model.state_dict())),
    )
    assert len(states) == 4
    assert all(torch.equal(value, states[1][name]) for name, value in model.state_dict().items())


def test_bfloat16_and_channels_last_train_as_well():
    """Losses near those of the plain training; weights come back in float32 and contiguous."""
    plain, loss = trained("lsq")
    for option in ("bf16", "channels_last"):
        model, other = trained(option)
        assert other == pytest.approx(loss, rel=0.1)
        for value, twin in zip(model.parameters(), plain.parameters(), strict=True):
            assert value.dtype == torch.float32
            assert value.stride() == twin.stride()


def test_half_precision_needs_a_gpu():
    """float16 without loss scaling would underflow, and CPUs have no use for it."""
    with pytest.raises(InputError, match="mixed_precision 'fp16' needs a GPU, got cpu"):
        fit(small_model(), Spots(), replace(RECIPE, mixed_precision="fp16"), seed=0)


def test_alpha_training_ends_with_the_quantized_network():
    """After `fit` every weight is on its grid, and its loss is finite."""
    model, loss = trained("alpha")
    assert math.isfinite(loss)
    weight, quantizer = model[4].weight, model[4].parametrizations.weight[0]
    assert torch.equal(weight, fake_quantize(weight, quantizer.grid))
