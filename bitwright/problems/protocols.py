"""The protocols that plug-ins fulfil: solver, significance measure, task, objective (costs: `costing`).

A plug-in is a class registered under an entry point. Its constructor's annotated keyword arguments
are its options: a run configuration sets them by name, the command line prints their defaults, and
unknown ones are refused. Nothing here imports torch; tensors appear in annotations only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.measurements import Quality
from bitwright.problems.network import NetworkDescription
from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.scores import CriticalClasses, SignificanceTable

if TYPE_CHECKING:
    from torch import Tensor, nn

SPLITS = ("train", "mine", "score", "test")
"""train = training and calibration; mine = half of val, to find critical classes and to select;
score = the other half of val, to measure significance; test = reporting only."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a solver may work; None means without that limit.

    `states` bounds lists, nodes or similar counted work and keeps answers reproducible; `seconds`
    is wall time and does not. `evaluations` counts runs of the real network.
    """

    states: int | None = None
    seconds: float | None = None
    evaluations: int | None = None

    def __post_init__(self) -> None:
        for name in ("states", "seconds", "evaluations"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise InputError(f"effort: {name} must be above 0, got {limit}")


@runtime_checkable
class MeasuredObjective(Protocol):
    """The joint loss of whole configurations, measured on the real network; lower is better."""

    def evaluate(self, configuration: BitConfiguration) -> float:
        """Return the loss of the network with this configuration; raises `MeasurementError`."""


@dataclass(frozen=True)
class SolveSession:
    """What a solver gets beside the problem: its seeded generator, its effort, and the objective."""

    rng: np.random.Generator
    effort: Effort = Effort()
    objective: MeasuredObjective | None = None
    started: float = field(default_factory=time.monotonic)

    def out_of_time(self) -> bool:
        """Whether the seconds of the effort are used up."""
        limit = self.effort.seconds
        return limit is not None and time.monotonic() - self.started >= limit


@dataclass(frozen=True, slots=True)
class SolverTraits:
    """What a solver can take and what its answers mean.

    `exact`: a finished run proves optimality. `several_budgets`: honours more than one budget at
    once. `pairwise`: takes interactions. `side_ties`: takes ties of one side. `peaks`: takes peak
    costs. `evaluates`: needs a `MeasuredObjective`. `needs`: importable modules beyond numpy.
    """

    exact: bool = False
    several_budgets: bool = False
    pairwise: bool = False
    side_ties: bool = False
    peaks: bool = False
    evaluates: bool = False
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Proposal:
    """What a solver hands to the door, which recomputes and judges everything in it.

    `selection` holds one index into the problem's choice arrays per layer, shape (N,), or None.
    `complete` says that the search ended by itself; an exact solver without a selection has then
    proved that there is none. `lower_bound` holds for every feasible configuration: an answer is
    called optimal where a complete exact solver claims a bound that meets its loss.
    """

    selection: NDArray[np.int64] | None
    complete: bool
    lower_bound: float = -np.inf
    explanation: str | None = None


@runtime_checkable
class Solver(Protocol):
    """Finds a configuration of least loss within the budgets."""

    name: str
    traits: SolverTraits

    def solve(self, problem: AllocationProblem, session: SolveSession) -> Proposal:
        """Propose a selection for the problem; the budgets are those of the problem."""


@dataclass(frozen=True, eq=False)
class FrontProposal:
    """Points of a front by rising first cost, and the way to the selection behind each of them.

    `cost_values` (P, K) and `losses` (P,) are what the solver believes; the door takes them only to
    choose points and recomputes whatever it reports. `selections(points)` returns the selections of
    the points with these indices, shape (len(points), N). `exact` and `epsilon` are those of
    `ParetoFront`.
    """

    cost_values: NDArray[Any]
    losses: NDArray[np.float64]
    selections: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    exact: bool
    epsilon: float | None = 0.0


@runtime_checkable
class HasFront(Solver, Protocol):
    """A solver with a front of its own; others are swept over budgets."""

    def front(
        self,
        problem: AllocationProblem,
        costs: Sequence[str],
        session: SolveSession,
        epsilon: float = 0.0,
    ) -> FrontProposal:
        """Propose non-dominated selections within the problem's budgets, up to an allowed error."""


@dataclass(frozen=True)
class ScoringContext:
    """All that a significance measure may use: the float model, the data, and the candidates.

    `candidates[layer]` lists the precisions that the layer may take. `quantize(configuration)`
    returns a context manager under which `model` runs with that configuration, calibrated on the
    train split, and `quantization` says by which rules: other text, other losses. `folder` keeps
    finished measurements; a measure resumes from what it finds there.
    """

    model: nn.Module
    task: Task
    network: NetworkDescription
    candidates: Mapping[str, tuple[Precision, ...]]
    critical: CriticalClasses
    quantize: Callable[[BitConfiguration], Any]
    quantization: str
    folder: Path
    progress: Callable[[str, int, int], None]
    seed: int = 0


@runtime_checkable
class SignificanceMeasure(Protocol):
    """Says how much each choice of bits hurts."""

    name: str

    def measure(self, context: ScoringContext) -> SignificanceTable:
        """Score every component at every candidate precision."""


class Evaluator(Protocol):
    """Collects the quality of a network over the batches of a split, in bounded memory."""

    def update(self, outputs: Any, targets: Any) -> None:
        """Take in one batch."""

    def result(self) -> Quality:
        """Quality over everything taken in."""


@runtime_checkable
class Task(Protocol):
    """A model, its data, its loss and its metrics.

    An *object* is what a loss belongs to: an image for a classifier, a labelled box for a detector.
    """

    name: str
    classes: tuple[str, ...]

    def build_model(self) -> nn.Module:
        """A fresh float model; the caller has seeded torch."""

    def example_inputs(self) -> tuple[Any, ...]:
        """Arguments for one forward call, batch size 1."""

    def batches(
        self, split: str, *, batch_size: int | None = None, seed: int | None = None
    ) -> Iterable[tuple[tuple[Any, ...], Any]]:
        """Yield (inputs, targets) of a split in `SPLITS`, the model being called as `model(*inputs)`.

        Without a seed the order is fixed and mixed (the first batches are a fair sample) and nothing
        is augmented; with one the order (and, on the train split, the augmentation) is drawn from it.
        """

    def training_loss(self, outputs: Any, targets: Any) -> Tensor:
        """Mean loss of a batch, to be minimised."""

    def object_losses(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """Loss of every object of a batch by term (`classification`; detectors add `box`), shape (O,)."""

    def object_classes(self, targets: Any) -> Tensor:
        """Class index of every object of a batch, shape (O,), in the order of `object_losses`."""

    def evaluator(self) -> Evaluator:
        """A fresh evaluator for the task's metrics."""

    def fingerprint(self) -> str:
        """A digest of the data and of the options that shape it: the same data, the same text."""
