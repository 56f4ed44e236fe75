"""QAT wins back most of what post-training quantization loses, where that loss is felt."""

import os
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from bitwright.networks import read_network
from bitwright.pipeline.evaluating import evaluate
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.precision import Precision
from bitwright.quantization import (
    QAT_RECIPE,
    TrainingRecipe,
    apply_configuration,
    calibrate,
    fit,
    post_training,
    quantized_copy,
)
from bitwright.tasks import Digits, ImageFolder

DATA = Path(os.environ.get("BITWRIGHT_DATA", "")) / "tiny_vehicles"


class Trained:
    """A task's float network, its test accuracy, and everything PTQ needs."""

    def __init__(self, task, recipe):
        self.task = task
        torch.manual_seed(0)
        self.model = task.build_model()
        fit(self.model, task, recipe, seed=0)
        self.accuracy = self.test(self.model)
        self.traced = read_network(self.model, task.example_inputs())
        self.inputs = [x for x, _ in task.batches("train", batch_size=64)][:8]
        self.calibrations = [
            calibrate(
                self.model,
                self.traced.description,
                self.inputs,
                weight_rule=weights,
                activation_rule=activations,
            )
            for weights, activations in product(("mse", "minmax"), repeat=2)
        ]

    def test(self, model):
        return evaluate(model, self.task, "test").quality.metrics["accuracy"]

    def best_ptq(self, configuration):
        """The best accuracy that any way of post-training quantization leaves."""
        found = []
        for calibration in self.calibrations:
            with apply_configuration(self.model, configuration, calibration):
                found.append(self.test(self.model))
        found.append(self.test(post_training(self.model, self.traced, configuration, self.inputs)))
        return max(found)

    def widest_that_hurts(self, felt):
        """The widest W=A at which the best PTQ loses so much accuracy, and what it leaves."""
        for bits in (8, 7, 6, 5, 4, 3, 2):
            uniform = BitConfiguration.uniform(self.traced.description.names, Precision(bits, bits))
            ptq = self.best_ptq(uniform)
            if self.accuracy - ptq >= felt:
                return uniform, ptq
        pytest.fail("no bit-width hurts")

    def after_qat(self, configuration, recipe, seed):
        twin = quantized_copy(
            self.model, configuration, self.calibrations[0], estimator=recipe.estimator
        )
        fit(twin, self.task, recipe, seed=seed, teacher=self.model)
        return self.test(twin)


def part_won_back(trained, recipe, felt):
    configuration, ptq = trained.widest_that_hurts(felt)
    qat = [trained.after_qat(configuration, recipe, seed) for seed in range(3)]
    return (np.mean(qat) - ptq) / (trained.accuracy - ptq)


def test_qat_wins_back_most_of_the_loss_on_digits():
    """At least 70 % of a loss of three points or more, mean of three seeds, after eight epochs."""
    trained = Trained(Digits(), TrainingRecipe(epochs=6))
    assert part_won_back(trained, replace(QAT_RECIPE, epochs=8), 0.03) >= 0.7


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.skipif(not DATA.is_dir(), reason="BITWRIGHT_DATA has no folder tiny_vehicles")
def test_qat_wins_back_most_of_the_loss_on_tiny_vehicles():
    """At least 70 % of a loss of five points or more, mean of three seeds, with the recipe as it is."""
    trained = Trained(ImageFolder(folder=DATA, image_size=48), TrainingRecipe(epochs=20))
    assert part_won_back(trained, QAT_RECIPE, 0.05) >= 0.7
