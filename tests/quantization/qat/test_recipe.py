"""Training settings: their checks, and schedules against torch's own."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.quantization import TrainingRecipe, quantized_copy

RECIPE = TrainingRecipe(epochs=3)


def rates_of_torch(make_scheduler: type[LRScheduler], steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup", [0.25, 0.3, 0.5])
@pytest.mark.parametrize("steps", [10, 77])
def test_one_cycle_is_torchs(steps, warmup):
    """Every step has the rate of `OneCycleLR` with its default divisors."""

    def one_cycle(optimizer):
        return OneCycleLR(
            optimizer, 0.5, total_steps=steps + 1, pct_start=warmup, cycle_momentum=False
        )

    recipe = replace(RECIPE, learning_rate=0.5, schedule="one_cycle", warmup=warmup)
    rates = [recipe.rate(step, steps + 1) for step in range(steps)]
    assert rates == pytest.approx(rates_of_torch(one_cycle, steps))


def test_cosine_is_torchs():
    """Without warm-up, every step has the rate of `CosineAnnealingLR`."""
    recipe = replace(RECIPE, learning_rate=0.5, schedule="cosine", warmup=0.0)
    expected = rates_of_torch(lambda optimizer: CosineAnnealingLR(optimizer, T_max=20), 20)
    assert [recipe.rate(step, 20) for step in range(20)] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_rates_rise_while_warming_up_and_never_after(schedule, warmup, steps):
    """Rates are positive, never above the given one, and rise before they fall."""
    recipe = replace(RECIPE, learning_rate=0.5, schedule=schedule, warmup=warmup)
    rates = [recipe.rate(step, steps) for step in range(steps)]
    top = rates.index(max(rates))
    assert all(0 < rate <= 0.5 for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert top <= warmup * steps + 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", 0, "epochs must be an integer of at least 1, got 0"),
        ("epochs", True, "epochs must be an integer of at least 1, got True"),
        ("batch_size", 1.5, "batch_size must be an integer of at least 1, got 1.5"),
        ("learning_rate", 0.0, "learning_rate must be above 0, got 0.0"),
        ("learning_rate", float("nan"), "learning_rate must be above 0, got nan"),
        ("weight_decay", -0.1, "weight_decay must not be negative, got -0.1"),
        ("warmup", 1.0, "warmup must be at least 0 and below 1, got 1.0"),
        ("gradient_clip_norm", 0.0, "gradient_clip_norm must be above 0 or null, got 0.0"),
        ("optimizer", "adam", "optimizer 'adam' is unknown; did you mean 'adamw'"),
        ("schedule", "onecycle", "schedule 'onecycle' is unknown; did you mean 'one_cycle'"),
        ("mixed_precision", "bf61", "mixed_precision 'bf61' is unknown; did you mean 'bf16'"),
        ("step_learning_rate", 0.0, r"step_learning_rate must be above 0, got 0\.0"),
        ("alpha_start", 0.9, r"alpha_start and alpha_end must rise within 0 and 1, got 0\.9 and"),
        (
            "alpha_end",
            1.1,
            r"alpha_start and alpha_end must rise within 0 and 1, got 0\.0 and 1\.1",
        ),
        ("dampening", -1.0, r"dampening must not be negative, got -1\.0"),
        ("weight_average", 1.0, r"weight_average must be above 0 and below 1, got 1\.0"),
        ("batch_norm_reestimation", -1, "batch_norm_reestimation must be an integer of at least 0"),
        ("distillation", 1.5, r"distillation must be from 0 to 1, got 1\.5"),
        ("distillation_temperature", 0.0, "distillation_temperature must be above 0"),
        ("early_stop_patience", 0, "early_stop_patience must be an integer of at least 1, got 0"),
    ],
)
def test_settings_are_checked(field, value, message):
    """The error names the setting, the rule and the value."""
    with pytest.raises(InputError, match=f"training: {message}"):
        replace(RECIPE, **{field: value})


def test_an_unknown_estimator_is_refused():
    """In the words of `apply_configuration`."""
    with pytest.raises(InputError, match="estimator 'lqs' is unknown; did you mean 'lsq'"):
        replace(RECIPE, estimator="lqs")


def test_what_quantizers_learn_has_its_own_rate_and_no_decay(model, calibration):
    """Steps of any shape, also those with one entry per channel."""
    configuration = BitConfiguration.uniform(calibration.layers, Precision(4, 4))
    twin = quantized_copy(model, configuration, calibration, estimator="lsq+")
    recipe = replace(RECIPE, learning_rate=0.1, step_learning_rate=0.02, weight_decay=0.5)
    found = {
        id(p): (group["weight_decay"], group["rate_factor"])
        for group in recipe.make_optimizer(twin).param_groups
        for p in group["params"]
    }
    for name, parameter in twin.named_parameters():
        learned = name.endswith(("log_step", "offset"))
        decay = 0.5 if parameter.ndim > 1 else 0.0
        assert found[id(parameter)] == ((0.0, pytest.approx(0.2)) if learned else (decay, 1.0))


def test_settings_survive_json():
    """A recipe is plain data."""
    assert TrainingRecipe(**json.loads(json.dumps(asdict(RECIPE)))) == RECIPE


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_weight_decay_spares_biases_and_norms(name, kind):
    """Weights of two and more dimensions decay; biases, norms and frozen weights do not."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 4), nn.Linear(4, 5))
    model[3].requires_grad_(False)
    optimizer = replace(RECIPE, optimizer=name, weight_decay=0.1).make_optimizer(model)
    decays = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert isinstance(optimizer, kind)
    assert decays == {
        id(parameter): 0.1 if parameter.ndim > 1 else 0.0 for parameter in model[:3].parameters()
    }
