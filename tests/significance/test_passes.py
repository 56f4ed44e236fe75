"""Measuring: what is run, what is kept, and what happens when it is interrupted."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from bitwright.problems import FLOAT32, InputError, MeasurementError
from bitwright.significance.passes import measure_losses

from . import tiny
from .tiny import CANDIDATES, W2, W4, W4A8, TinyTask, losses_by_hand, scoring_context, tiny_network

QUANTIZED = [(n, p) for n, offered in CANDIDATES.items() for p in offered if p != FLOAT32]
REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("boxes", [False, True])
def test_losses_are_those_of_each_object_alone(tmp_path, boxes):
    """Every stored loss is that of one object, run by itself, with just that layer quantized."""
    task, model = TinyTask(boxes=boxes), tiny_network()
    losses = measure_losses(scoring_context(tmp_path, task=task, model=model))
    plan = losses.plan
    assert plan.components == ("first", "second", "head")
    assert plan.precisions == (W2, W4, W4A8, FLOAT32)
    assert losses.object_classes.tolist() == task.labels.tolist()
    for term, expected in losses_by_hand(task, model).items():
        np.testing.assert_allclose(losses.float_losses[term], expected, rtol=1e-5, atol=1e-6)
    for (component, precision), cell in plan.cells.items():
        if precision == FLOAT32:
            continue
        by_term = losses_by_hand(task, model, component, precision.weight_bits)
        for term, expected in by_term.items():
            np.testing.assert_allclose(losses.losses[term][cell], expected, rtol=1e-5, atol=1e-6)


def test_float32_is_known_without_running(tmp_path):
    """Float32 losses are those of the float pass bit for bit; what is not offered is NaN."""
    calls = []
    losses = measure_losses(scoring_context(tmp_path, calls=calls))
    stored, in_float = losses.losses["classification"], losses.float_losses["classification"]
    assert calls == QUANTIZED
    for i in range(3):
        np.testing.assert_array_equal(stored[i, 3], in_float)
    assert np.isnan(stored[2, 0]).all()
    assert np.isnan(stored[1, 1]).all()


def test_the_model_is_left_as_it_was(tmp_path):
    """A model in training mode is measured in evaluation mode and gets every flag and value back."""
    reference = measure_losses(scoring_context(tmp_path / "eval"))
    model = tiny_network().train()
    model.norm.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    losses = measure_losses(scoring_context(tmp_path / "train", model=model))
    for term, stored in reference.losses.items():
        np.testing.assert_array_equal(losses.losses[term], stored)
    flags = (model.training, model.norm.training, model.dropout.training)
    assert flags == (True, False, True)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_all_runs_in_evaluation_mode(tmp_path):
    """So does what `quantize` does on entering, and so do modules that it puts into the model."""
    reference = measure_losses(scoring_context(tmp_path / "plain"))
    context = scoring_context(tmp_path / "inserted", model=tiny_network().train())

    @contextmanager
    def quantize(configuration):
        assert not context.model.training
        context.model.dropout = torch.nn.Dropout(0.5)
        with context.quantize(configuration):
            yield

    losses = measure_losses(dataclasses.replace(context, quantize=quantize))
    for term, stored in reference.losses.items():
        np.testing.assert_array_equal(losses.losses[term], stored)


def test_a_finished_measurement_is_not_repeated(tmp_path):
    """Asked again, the losses are read: nothing is run."""
    first = measure_losses(scoring_context(tmp_path))
    calls = []
    context = scoring_context(tmp_path, calls=calls)
    context.model.forward = None
    again = measure_losses(context)
    assert calls == []
    np.testing.assert_array_equal(again.losses["classification"], first.losses["classification"])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "float_losses_classification.npy",
        "index.json",
        "losses_classification.npy",
    ]


def test_progress_is_told_from_start_to_end(tmp_path):
    """What was finished is told each time, with how many are done of how many."""
    told = []
    context = scoring_context(tmp_path)
    measure_losses(dataclasses.replace(context, progress=lambda *what: told.append(what)))
    assert [done for _, done, _ in told] == list(range(9))
    assert (told[0], told[-1]) == (("float network", 0, 8), ("head at w32a32", 8, 8))


def other_weights():
    model = tiny_network()
    with torch.no_grad():
        model.head.bias[0] += 1e-6
    return model


CHANGES = {
    "weights": lambda: {"model": other_weights()},
    "data": lambda: {"task": TinyTask(data="data-2")},
    "candidates": lambda: {"candidates": {"first": (W2,)}},
}


@pytest.mark.parametrize("what", CHANGES)
def test_losses_of_something_else_are_refused(tmp_path, what):
    """Losses of other weights, data or candidates are neither used nor thrown away."""
    measure_losses(scoring_context(tmp_path))
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=f"holds losses measured with other {what}; remove it"):
        measure_losses(scoring_context(tmp_path, **CHANGES[what]()))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_an_error_keeps_what_was_finished(tmp_path):
    """After a failing layer the next call continues with that layer."""
    calls = []
    context = scoring_context(tmp_path, calls=calls)
    context.model.second.register_forward_pre_hook(
        lambda module, inputs: (
            (_ for _ in ()).throw(RuntimeError("out of memory\nat line 7"))
            if len(calls) == 3
            else None
        )
    )
    with pytest.raises(MeasurementError, match=r"second at w2a8: .* cannot be run: out of memory$"):
        measure_losses(context)
    again = []
    measure_losses(scoring_context(tmp_path, calls=again))
    assert again == QUANTIZED[2:]


def test_a_loss_that_is_no_number_is_named(tmp_path):
    """A NaN loss stops the measurement with component and precision, and is not stored."""

    class BrokenTask(TinyTask):
        passes = 0

        def object_losses(self, outputs, targets):
            self.passes += 1
            losses = super().object_losses(outputs, targets)
            if self.passes == 10:  # the second of four batches in the third pass
                losses["classification"][3] = torch.nan
            return losses

    with pytest.raises(
        MeasurementError,
        match=r"first at w4a4: .* 1 of 37 objects is not finite, such as nan .* 13",
    ):
        measure_losses(scoring_context(tmp_path, task=BrokenTask()))
    calls = []
    measure_losses(scoring_context(tmp_path, calls=calls))
    assert calls == QUANTIZED[1:]


def test_a_task_that_contradicts_itself_is_named(tmp_path):
    """Wrong shapes, changing terms and impossible classes are errors of the task, one line each."""

    class MeanTask(TinyTask):
        def object_losses(self, outputs, targets):
            return {"classification": super().object_losses(outputs, targets)["classification"][:1]}

    class MoodyTask(TinyTask):
        def object_losses(self, outputs, targets):
            self.boxes = not self.boxes
            return super().object_losses(outputs, targets)

    class UpperCaseTask(TinyTask):
        def object_losses(self, outputs, targets):
            return {"../Loss": super().object_losses(outputs, targets)["classification"]}

    class OneClassTask(TinyTask):
        classes = ("car",)

    class EmptyTask(TinyTask):
        def batches(self, split, **options):
            return iter(())

    cases = (
        (MeanTask(), r"one value for each of the 37 objects, got shape \(4,\)"),
        (MoodyTask(), "one value for each of the 37 objects"),
        (UpperCaseTask(), "a loss term is named in lower case"),
        (OneClassTask(), "has class [12] of 1 classes"),
        (EmptyTask(), "score split holds no objects"),
    )
    for task, message in cases:
        with pytest.raises((MeasurementError, InputError), match=message):
            measure_losses(scoring_context(tmp_path, task=task))


def test_candidates_are_checked_before_anything_runs(tmp_path):
    """An unknown layer, an empty list and no layer at all are refused."""
    cases = (
        ({"frist": (W2,)}, "'frist'; did you mean 'first'"),
        ({"first": ()}, "'first' needs distinct candidate precisions"),
        ({"first": (W2, W2)}, "'first' needs distinct candidate precisions"),
        ({}, "nothing to measure"),
    )
    for candidates, message in cases:
        with pytest.raises(InputError, match=message):
            measure_losses(scoring_context(tmp_path, candidates=candidates))
    assert list(tmp_path.iterdir()) == []


def wait_for_lines(journal, count, process):
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < count:
        assert process.poll() is None, "the measurement ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_measurement_is_resumed_exactly(tmp_path):
    """After SIGKILL no finished measurement is repeated, and the arrays are those of a whole run."""
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, tiny.__file__, broken], env=environment)
    wait_for_lines(broken / "journal.jsonl", 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = (broken / "journal.jsonl").read_bytes().count(b"\n")
    assert 2 <= finished < len(QUANTIZED)

    calls = []
    measure_losses(scoring_context(broken, task=TinyTask(boxes=True), calls=calls))
    order = [(n, p) for n, offered in CANDIDATES.items() for p in offered]
    assert calls == [key for key in order[finished:] if key[1] != FLOAT32]

    measure_losses(scoring_context(whole, task=TinyTask(boxes=True)))
    arrays = sorted(path.name for path in whole.glob("*.npy"))
    assert len(arrays) == 4
    for name in arrays:
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
