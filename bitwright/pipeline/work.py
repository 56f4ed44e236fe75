"""What the stages of a run share: the configuration, the folder, the task and the float network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import nn

from bitwright import plugins
from bitwright.networks import TracedNetwork, pin, read_network
from bitwright.networks.nonlinear import nonlinear_preactivations
from bitwright.pipeline.folder import RunFolder, digest_of_file
from bitwright.pipeline.offering import offered_precisions
from bitwright.problems.errors import MeasurementError
from bitwright.problems.formats import read_network as read_network_file
from bitwright.problems.formats import read_problem
from bitwright.problems.network import NetworkDescription
from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Task
from bitwright.problems.scores import CriticalClasses
from bitwright.progress import Reporter
from bitwright.quantization import Calibration, calibrate
from bitwright.run_config import PluginSection, RunConfig

FLOAT_WEIGHTS = "float.safetensors"


@dataclass
class Work:
    """One run at work; everything here is loaded when first asked for."""

    config: RunConfig
    folder: RunFolder
    reporter: Reporter

    @cached_property
    def task(self) -> Task:
        """The task of the run."""
        return cast(Task, self.plugin("tasks", self.config.task))

    @cached_property
    def data(self) -> str:
        """The task's digest of its data."""
        return self.task.fingerprint()

    @cached_property
    def weights(self) -> str:
        """A digest of the trained float weights."""
        return digest_of_file(self.folder / FLOAT_WEIGHTS) or ""

    def plugin(self, kind: plugins.Kind, section: PluginSection) -> Any:
        """Make a plug-in as the configuration says."""
        return plugins.create(kind, section.name, section.options)

    def fresh_model(self) -> nn.Module:
        """The untrained network; the same seed gives the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return self.task.build_model()

    def float_model(self) -> nn.Module:
        """A fresh copy of the trained float network, in evaluation mode."""
        model = self.fresh_model()
        model.load_state_dict(load_file(self.folder / FLOAT_WEIGHTS))
        return model.eval()

    def read_network(self) -> TracedNetwork:
        """Run the network once and describe it, pins included."""
        traced = read_network(self.fresh_model(), self.task.example_inputs(), self.config.name)
        return TracedNetwork(pin(traced.description, self.config.pins), traced.graph)

    @cached_property
    def network(self) -> NetworkDescription:
        """The network as the `read` stage described it."""
        return read_network_file(self.folder / "network.json")

    @property
    def candidates(self) -> dict[str, tuple[Precision, ...]]:
        """The precisions that every layer may take."""
        return self.candidates_in(self.network)

    def candidates_in(self, network: NetworkDescription) -> dict[str, tuple[Precision, ...]]:
        """The precisions that every layer of a description may take."""
        precisions, section = self.config.precisions, self.config.variants
        return offered_precisions(network, precisions, section, self.nonlinear)

    @cached_property
    def nonlinear(self) -> dict[str, str]:
        """Layers before a nonlinear activation, with the module whose output it reads."""
        section, labels = (
            self.config.variants,
            (*self.config.precisions, *self.config.pins.values()),
        )
        if section.hybrid == "off" and not any(p.variant for p in labels):
            return {}  # nobody asks: the network need not run
        return nonlinear_preactivations(self.read_network())

    @cached_property
    def calibration(self) -> Calibration:
        """Ranges of the float network, from the first batches of the train split."""
        section = self.config.calibration
        batches = self.task.batches("train", batch_size=section.batch_size)
        inputs = (batch for batch, _ in _first(batches, section.batches))
        return calibrate(
            self.float_model(),
            self.network,
            inputs,
            weight_rule=section.weight_rule,
            activation_rule=section.activation_rule,
            observe_outputs=self.nonlinear,
        )

    @cached_property
    def critical(self) -> CriticalClasses:
        """The critical classes as the `mine` stage found them."""
        document = self.folder.read_json("critical.json")["critical"]
        return CriticalClasses(
            classes=tuple(document["classes"]),
            pairs=tuple((a, b, rate) for a, b, rate in document["pairs"]),
            groups=tuple(tuple(group) for group in document["groups"]),
            threshold=document["threshold"],
            above_threshold=document["above_threshold"],
            given=document["given"],
        )

    @cached_property
    def problem(self) -> AllocationProblem:
        """The allocation problem as the `problem` stage wrote it."""
        return read_problem(self.folder / "problem.json")


def _first(batches: Any, count: int) -> Any:
    taken = 0
    for batch in batches:
        yield batch
        taken += 1
        if taken == count:
            return
    if not taken:
        raise MeasurementError("the train split has no batch to calibrate on")
