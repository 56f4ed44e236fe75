"""A solution: the configuration found, what it costs, and what is proved about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError, nearest


class Status(StrEnum):
    """What happened; the members' `meaning` is the sentence shown to people."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    STOPPED = "stopped"

    @property
    def meaning(self) -> str:
        """The status in words."""
        return _MEANINGS[self]

    @property
    def has_answer(self) -> bool:
        """Whether a solution of this status holds a configuration."""
        return self in (Status.OPTIMAL, Status.FEASIBLE)


_MEANINGS = {
    Status.OPTIMAL: "proved optimal",
    Status.FEASIBLE: "feasible; optimality not proved",
    Status.INFEASIBLE: "no configuration meets every budget",
    Status.STOPPED: "stopped before any feasible configuration was found",
}


@dataclass(frozen=True)
class Solution:
    """One answer with its certificate; loss and costs are recomputed from the problem, lower is better.

    `configuration` is None exactly when the status is `infeasible` or `stopped`; then `loss` is
    infinite and `costs` and `slack` are empty. `lower_bound` holds for every feasible configuration
    and is -inf where the solver proves none. `slack` is budget minus cost. Where the choices were
    limited to those of a `device`, `runs_as` names the type in which it computes each layer.
    """

    problem: str
    solver: str
    status: Status
    configuration: BitConfiguration | None
    loss: float
    lower_bound: float
    costs: Mapping[str, int | float] = field(default_factory=dict, hash=False)
    budgets: Mapping[str, int | float] = field(default_factory=dict, hash=False)
    slack: Mapping[str, int | float] = field(default_factory=dict, hash=False)
    explanation: str | None = None
    seconds: float = 0.0
    seed: int = 0
    version: str = ""
    device: str = ""
    runs_as: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "status", Status(self.status))
        except ValueError:
            known = [s.value for s in Status]
            raise InputError(
                f"unknown status {self.status!r}; {nearest(str(self.status), known)}"
            ) from None
        for name in ("costs", "budgets", "slack", "runs_as"):
            object.__setattr__(self, name, dict(getattr(self, name)))
        if (self.configuration is None) == self.status.has_answer:
            raise InputError(
                f"status {self.status} and configuration {self.configuration} do not go together"
            )
        if foreign := [name for name in self.runs_as if name not in (self.configuration or ())]:
            raise InputError(
                f"runs_as names unknown layer {foreign[0]!r}; "
                f"{nearest(foreign[0], self.configuration or ())}"
            )
        if self.runs_as and not self.device:
            raise InputError("runs_as needs the name of the device")
        if self.configuration is not None and not math.isfinite(self.loss):
            raise InputError(f"the loss of a configuration must be finite, got {self.loss}")
        if self.configuration is None and (self.loss != math.inf or self.costs or self.slack):
            raise InputError(
                f"status {self.status} needs an infinite loss and neither costs nor slack"
            )
        if self.lower_bound > self.loss:
            raise InputError(f"lower_bound <= loss must hold, got {self.lower_bound} > {self.loss}")
        if self.status is Status.OPTIMAL and self.lower_bound != self.loss:
            raise InputError("an optimal solution has a lower bound equal to its loss")
        negative = [n for n, s in self.slack.items() if s < 0]
        if negative:
            raise InputError(f"the slack of a solution must not be negative: {negative}")

    @property
    def gap(self) -> float:
        """Loss minus lower bound, 0 when proved optimal, infinite without a bound or an answer."""
        if self.configuration is None:
            return math.inf
        return 0.0 if self.status is Status.OPTIMAL else self.loss - self.lower_bound

    @property
    def relative_gap(self) -> float:
        """The gap as a share of the larger of |loss| and |lower bound|."""
        if self.gap == 0 or not math.isfinite(self.gap):
            return self.gap
        return self.gap / max(abs(self.loss), abs(self.lower_bound))

    def summary(self) -> str:
        """The answer in one line."""
        budgets = ", ".join(
            f"{n} {self.costs[n]:g} of {b:g}" for n, b in self.budgets.items() if n in self.costs
        )
        if self.configuration is None:
            return f"{self.status.meaning}: {self.explanation or 'no explanation given'}"
        return f"loss {self.loss:.6g}, {self.status.meaning}" + (f"; {budgets}" if budgets else "")
