"""Exports on real images: crops of vehicles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from bitwright.networks import read_network
from bitwright.problems import BitConfiguration, Precision
from bitwright.quantization import TrainingRecipe, calibrate, fit, quantized_copy
from bitwright.quantization.export import export_qdq
from bitwright.tasks.image_folder import ImageFolder

from .running import accuracy, session, share_within_one_step

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained():
    """A network for tiny_vehicles after three epochs, its description and calibration."""
    root = os.environ.get("BITWRIGHT_DATA")
    if not root:
        pytest.skip("BITWRIGHT_DATA is not set")
    torch.manual_seed(0)
    task = ImageFolder(folder=Path(root) / "tiny_vehicles", image_size=48)
    model = task.build_model()
    fit(model, task, TrainingRecipe(epochs=3, batch_size=64), seed=0)
    network = read_network(model.eval(), task.example_inputs(), "vehicles").description
    batch, _ = next(iter(task.batches("train", batch_size=256)))
    return task, model, network, calibrate(model, network, [batch])


@pytest.mark.parametrize("bits", [(8, 8), (4, 8), (3, 6)])
def test_tiny_vehicles(trained, bits):
    """99.9 % of what the last layer reads is within one step of ours; optimised, accuracy within 0.002."""
    task, model, network, calibration = trained
    precisions = {name: Precision(*(bits if i else (8, 8))) for i, name in enumerate(network.names)}
    quantized = quantized_copy(model, BitConfiguration(precisions), calibration).eval()
    export = export_qdq(quantized, task.example_inputs())
    batches = [batch for split in ("test", "score", "mine") for batch in task.batches(split)]
    assert share_within_one_step(quantized, export.proto, network.names[-1], batches) >= 0.999
    run = session(export.proto)
    name = run.get_inputs()[0].name
    with torch.no_grad():
        ours = accuracy(lambda x: quantized(x).numpy(), batches)
    theirs = accuracy(lambda x: run.run(None, {name: x.numpy()})[0], batches)
    assert abs(ours - theirs) <= 0.002
