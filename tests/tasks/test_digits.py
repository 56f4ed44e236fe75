"""The digits: the data is as stated, the network learns it, and bits matter to it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from bitwright.problems.errors import InputError
from bitwright.problems.protocols import SPLITS, Task
from bitwright.tasks.digits import Digits

EPOCHS = 20


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sizes(task: Task) -> dict[str, int]:
    return {split: sum(len(t) for _, t in task.batches(split)) for split in SPLITS}


def test_fulfils_the_protocol(digits):
    """The class is a `Task` with ten classes and 8x8 images."""
    assert isinstance(digits, Task)
    assert digits.classes == tuple("0123456789")
    assert digits.image_shape == (1, 8, 8)


def test_all_digits_are_used(digits):
    """The four splits hold all 1,797 digits in the shares asked for."""
    found = sizes(digits)
    assert sum(found.values()) == 1797
    assert found["mine"] + found["score"] == pytest.approx(0.35 * 1797, abs=2)
    assert found["test"] == pytest.approx(0.25 * 1797, abs=2)
    assert abs(found["mine"] - found["score"]) <= 1


def test_shares_are_options():
    """Other shares give other sizes."""
    assert sizes(Digits(val_share=0.1, test_share=0.6))["test"] == pytest.approx(1078, abs=2)


def test_network_is_small_and_residual(digits):
    """Ten layers with weights, 31,434 parameters, and logits for ten classes."""
    model = digits.build_model()
    assert sum(p.numel() for p in model.parameters()) == 31434
    assert model(*digits.example_inputs()).shape == (1, 10)


def test_same_digits_in_another_process(digits):
    """The fingerprint does not depend on the process; seed, noise and shares change it."""
    code = "from bitwright.tasks.digits import Digits; print(Digits().fingerprint())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == digits.fingerprint()
    others = [Digits(seed=1), Digits(noise=0.1), Digits(val_share=0.3)]
    assert len({task.fingerprint() for task in [digits, *others]}) == 4


def test_noise_is_drawn_once():
    """Noisy digits are the same at every visit and from every instance of one seed."""
    first, second = Digits(noise=0.2), Digits(noise=0.2)
    assert first.fingerprint() == second.fingerprint() != Digits(noise=0.2, seed=1).fingerprint()


@pytest.mark.parametrize("noise", [-0.1, 1.5])
def test_noise_out_of_range(noise):
    """Noise beyond the grey range is refused."""
    with pytest.raises(InputError, match=f"noise must be from 0 to 1, got {noise}"):
        Digits(noise=noise)


def test_learns_the_digits(digits):
    """The recipe of the docs reaches 97 % on the test split within seconds."""
    torch.manual_seed(0)
    model = digits.build_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    steps = EPOCHS * len(digits.batches("train", batch_size=32))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for epoch in range(EPOCHS):
        for inputs, targets in digits.batches("train", batch_size=32, seed=epoch):
            optimizer.zero_grad()
            digits.training_loss(model(*inputs), targets).backward()
            optimizer.step()
            schedule.step()
    evaluator = digits.evaluator()
    with torch.no_grad():
        for inputs, targets in digits.batches("test"):
            evaluator.update(model.eval()(*inputs), targets)
    assert evaluator.result().main >= 0.97
