"""What the stages of a run share: the configuration, the folder, the task and the float network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import nn

from bitwright import plugins
from bitwright.cost_models.devices import load_device
from bitwright.networks import TracedNetwork, pin, read_network
from bitwright.networks.nonlinear import nonlinear_preactivations
from bitwright.pipeline.folder import RunFolder, digest_of_file
from bitwright.pipeline.offering import offered_precisions
from bitwright.problems.device import Device
from bitwright.problems.errors import InputError, MeasurementError
from bitwright.problems.formats import read_network as read_network_file
from bitwright.problems.formats import read_problem
from bitwright.problems.network import NetworkDescription
from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Task
from bitwright.problems.scores import CriticalClasses
from bitwright.progress import Reporter
from bitwright.quantization import Calibration, calibrate, fold_batch_norms
from bitwright.run_config import PluginSection, RunConfig, read_run_config

FLOAT_WEIGHTS = "float.safetensors"
_SOLVED = (
    FLOAT_WEIGHTS, "network.json", "critical.json", "problem.json", "front.json", "front_points.json",
)  # fmt: skip


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
        """A fresh copy of the trained float network, in evaluation mode, folded where so configured."""
        model = self.fresh_model()
        model.load_state_dict(load_file(self.folder / FLOAT_WEIGHTS))
        return self._folded(model).eval()

    def read_network(self) -> TracedNetwork:
        """Run the network once and describe it, folded where so configured, pins included."""
        config, inputs = self.config, self.task.example_inputs()
        model = self._folded(self.fresh_model())
        traced = read_network(model, inputs, config.name, ties=config.ties)
        return TracedNetwork(pin(traced.description, config.pins), traced.graph)

    def _folded(self, model: nn.Module) -> nn.Module:
        if not self.config.calibration.fold_batch_norms:
            return model
        traced = read_network(model, self.task.example_inputs(), self.config.name)
        return fold_batch_norms(model, traced)

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
        return offered_precisions(network, precisions, section, self.nonlinear, self.device)

    @cached_property
    def device(self) -> Device | None:
        """The device whose choices alone are offered, if the configuration names one."""
        return None if self.config.device is None else load_device(self.config.device)

    @cached_property
    def nonlinear(self) -> dict[str, str]:
        """Layers before a nonlinear activation, with the module whose output it reads."""
        asked = [precision.variant for precision in self.config.precisions]
        asked += [pin.variant for pin in self.config.pins.values() if isinstance(pin, Precision)]
        if self.config.variants.hybrid == "off" and not any(asked):
            return {}  # nobody asks: the network need not run
        return nonlinear_preactivations(self.read_network())

    @cached_property
    def calibration(self) -> Calibration:
        """Ranges of the float network, from the first batches of the train split."""
        return calibrate(
            self.float_model(),
            self.network,
            self.calibration_inputs(),
            observe_outputs=self.nonlinear,
            **self.config.calibration.rules,
        )

    def calibration_inputs(self) -> Iterator[tuple[Any, ...]]:
        """Inputs of the first batches of the train split, as many as the configuration says."""
        section = self.config.calibration
        batches = self.task.batches("train", batch_size=section.batch_size)
        return (inputs for inputs, _ in _first(batches, section.batches))

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


def open_run(path: Path, reporter: Reporter, **verify: Any) -> Work:
    """The run that made a folder, with other settings of `verify` where they are not None.

    Raises `InputError` where the folder is none of a run, or the run is not solved yet.
    """
    config_file = path / "config.yaml"
    if not config_file.is_file():
        raise InputError(f"{path}: not a run folder: it has no config.yaml")
    config = read_run_config(config_file)
    if changes := {key: value for key, value in verify.items() if value is not None}:
        section = config.document()["verify"] | changes
        try:
            config = read_run_config(config_file, verify=section)
        except InputError as error:  # the file was read before: what is wrong is what was asked for
            raise InputError(
                str(error).replace(str(config_file), "what was asked for", 1)
            ) from None
    for name in (*_SOLVED, *(f"solutions/{name}.json" for name in config.solutions)):
        if not (path / name).is_file():
            raise InputError(
                f"{path}: the run is not solved yet, {name} is missing; "
                f"`bitwright run {config_file} --runs {path.parent}` goes on with it"
            )
    return Work(config, RunFolder(path), reporter)


def _first(batches: Any, count: int) -> Any:
    taken = 0
    for batch in batches:
        yield batch
        taken += 1
        if taken == count:
            return
    if not taken:
        raise MeasurementError("the train split has no batch to calibrate on")
