"""The training loop: against one written by hand, interrupted, resumed, and for QAT."""

import multiprocessing
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError, MeasurementError
from bitwright.problems.precision import Precision
from bitwright.quantization import calibrate, fit, quantized_copy

from ..spots import RECIPE, CountedSpots, Spots, small_model, train_until_killed


class Interruption(Exception):
    """What stands for a user's Ctrl-C."""


def interrupt_after(epochs):
    def progress(done, _total, _loss):
        if done == epochs:
            raise Interruption

    return progress


def assert_same_state(a, b):
    assert list(a.state_dict()) == list(b.state_dict())
    for one, other in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.fixture
def unbroken():
    """A model after four epochs without interruption, and its last loss."""
    model = small_model()
    return model, fit(model, Spots(), RECIPE, seed=3)


def test_weights_are_those_of_a_loop_written_by_hand(unbroken):
    """The same steps with torch's own scheduler give the same weights and loss."""
    model = small_model().train()
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}],
        lr=0.01,
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.01, total_steps=12, pct_start=0.25, cycle_momentum=False
    )
    for epoch in range(4):
        data, rng = np.random.SeedSequence([3, epoch]).generate_state(2).tolist()
        torch.manual_seed(rng)
        losses = []
        for (x,), labels in Spots().batches("train", batch_size=32, seed=data):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
    expected, last_loss = unbroken
    assert last_loss == pytest.approx(np.mean(losses), rel=1e-5)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_the_same_seed_gives_the_same_weights(unbroken):
    """Training depends on the seed alone, not on torch's random state, which it leaves alone."""
    again = small_model()
    torch.manual_seed(99)
    state = torch.get_rng_state()
    loss = fit(again, Spots(), RECIPE, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert loss == unbroken[1]
    assert_same_state(again, unbroken[0])
    other = small_model()
    assert fit(other, Spots(), RECIPE, seed=4) != loss


@pytest.mark.parametrize("epochs", [1, 3, 4])
def test_a_training_stopped_between_epochs_ends_as_an_unbroken_one(tmp_path, unbroken, epochs):
    """Stopped after any epoch and started anew, it ends with the same bits and the same loss."""
    file = tmp_path / "folder" / "training.pt"
    with pytest.raises(Interruption):
        fit(
            small_model(),
            Spots(),
            RECIPE,
            seed=3,
            checkpoint=file,
            progress=interrupt_after(epochs),
        )
    resumed, seen = small_model(seed=8), []
    loss = fit(
        resumed,
        Spots(),
        RECIPE,
        seed=3,
        checkpoint=file,
        progress=lambda done, total, _: seen.append((done, total)),
    )
    assert seen == [(done, 4) for done in range(epochs + 1, 5)]
    assert loss == unbroken[1]
    assert_same_state(resumed, unbroken[0])


def test_a_killed_training_ends_as_an_unbroken_one(tmp_path, unbroken):
    """Killed in the midst of its third epoch, it goes on from the second one."""
    file = tmp_path / "training.pt"
    process = multiprocessing.get_context("spawn").Process(
        target=train_until_killed, args=(file, 7)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["training.pt"]
    resumed, epochs = small_model(), []
    fit(
        resumed,
        Spots(),
        RECIPE,
        seed=3,
        checkpoint=file,
        progress=lambda done, *_: epochs.append(done),
    )
    assert epochs == [3, 4]
    assert_same_state(resumed, unbroken[0])


def test_an_interrupted_write_leaves_the_last_checkpoint_whole(tmp_path, unbroken, monkeypatch):
    """A write that does not reach its rename changes nothing."""
    file = tmp_path / "training.pt"
    with pytest.raises(Interruption):
        fit(small_model(), Spots(), RECIPE, seed=3, checkpoint=file, progress=interrupt_after(2))
    before = file.read_bytes()

    def fail(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(InputError, match=r"training\.pt: cannot be written"):
            fit(small_model(), Spots(), RECIPE, seed=3, checkpoint=file)
    assert file.read_bytes() == before
    resumed = small_model()
    fit(resumed, Spots(), RECIPE, seed=3, checkpoint=file)
    assert_same_state(resumed, unbroken[0])


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PK" + b])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    """The error names the file and what to do; nothing is lost silently."""
    file = tmp_path / "training.pt"
    fit(small_model(), Spots(), replace(RECIPE, epochs=1), seed=3, checkpoint=file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=r"training\.pt is damaged or none of ours .* delete it"):
        fit(small_model(), Spots(), replace(RECIPE, epochs=1), seed=3, checkpoint=file)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    """Another recipe, seed, data or model: the error says which."""
    file, recipe = tmp_path / "training.pt", replace(RECIPE, epochs=1)
    fit(small_model(), Spots(), recipe, seed=3, checkpoint=file)
    with pytest.raises(InputError, match="another training: epochs was 1 and is now 2"):
        fit(small_model(), Spots(), replace(recipe, epochs=2), seed=3, checkpoint=file)
    with pytest.raises(InputError, match="another training: seed was 3 and is now 4"):
        fit(small_model(), Spots(), recipe, seed=4, checkpoint=file)
    with pytest.raises(InputError, match="another training: data was 'spots-96' and is now"):
        fit(small_model(), Spots(count=64), recipe, seed=3, checkpoint=file)
    with pytest.raises(InputError, match=r"training\.pt belongs to another model"):
        fit(nn.Sequential(nn.Linear(2, 2)), Spots(), recipe, seed=3, checkpoint=file)


def test_batches_are_counted_only_where_they_have_no_length(unbroken):
    """With a length, every epoch draws its batches once."""
    task, model = CountedSpots(), small_model()
    fit(model, task, RECIPE, seed=3)
    assert task.passes == RECIPE.epochs
    assert_same_state(model, unbroken[0])


def test_the_model_trains_in_training_mode_and_is_left_in_evaluation_mode():
    """Batch norm sees every batch of every epoch, also when a callback evaluates the model."""
    model = small_model().eval()
    fit(model, Spots(), RECIPE, seed=3, progress=lambda *_: model.eval())
    assert model[1].num_batches_tracked == 4 * 3
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("batch", [0, 4])
def test_a_loss_that_is_nan_names_epoch_and_batch(batch):
    """Counted from one; the weights before the step are kept."""

    class Failing(Spots):
        calls = 0

        def training_loss(self, outputs, targets):
            self.calls += 1
            loss = super().training_loss(outputs, targets)
            return loss * (torch.nan if self.calls == batch + 1 else 1)

    model = small_model()
    place = f"epoch {batch // 3 + 1}, batch {batch % 3 + 1}"
    with pytest.raises(MeasurementError, match=f"training: the loss is nan in {place}"):
        fit(model, Failing(), RECIPE, seed=3)
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_gradient_that_is_not_finite_is_an_error():
    """A finite loss may have an infinite gradient, which must not reach the weights."""

    class Steep(Spots):
        def training_loss(self, outputs, targets):
            return (outputs - outputs.detach()).abs().sqrt().sum()

    with pytest.raises(MeasurementError, match="the gradient's norm is nan in epoch 1, batch 1"):
        fit(small_model(), Steep(), RECIPE, seed=3)


def test_a_model_or_a_task_with_nothing_to_train_is_refused():
    """No trainable parameter, or no batch."""
    with pytest.raises(InputError, match="no parameter to train"):
        fit(nn.Flatten(), Spots(), RECIPE, seed=3)

    class Empty(Spots):
        def batches(self, split, **options):
            return []

    with pytest.raises(MeasurementError, match="task 'spots' gave no batch to train on"):
        fit(small_model(), Empty(), RECIPE, seed=3)


def mean_loss(model, task):
    with torch.no_grad():
        batches = task.batches("mine", batch_size=32)
        return float(np.mean([task.training_loss(model(*x), y).item() for x, y in batches]))


@pytest.mark.parametrize("label", ["w2a4", "w3a3"])
def test_qat_reduces_the_loss_of_the_quantized_network(label):
    """Trained from PTQ at 2 or 3 bits, the network loses less on data it has not seen."""
    task, model = Spots(count=256), small_model()
    fit(model, task, RECIPE, seed=0)
    batches = [x for x, _ in task.batches("train", batch_size=32)]
    network = read_network(model, batches[0]).description
    configuration = BitConfiguration.uniform(network.names, Precision.parse(label))
    quantized = quantized_copy(model, configuration, calibrate(model, network, batches))
    before, float_loss = mean_loss(quantized, task), mean_loss(model, task)
    fit(quantized, task, replace(RECIPE, learning_rate=3e-3), seed=1)
    assert float_loss < before
    assert mean_loss(quantized, task) < before
