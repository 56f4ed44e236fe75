"""The allocation problem: which choices every layer has, what they cost, what must hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.problems.checks import check_budget, check_problem
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.exact import ExactColumn, Number, exact, plain
from bitwright.problems.precision import FLOAT_BITS, Precision
from bitwright.problems.terms import Interaction, Peak
from bitwright.problems.ties import Tie
from bitwright.problems.values import ArrayValue

T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """One precision that a layer may take, with its loss and costs (lower is better for all)."""

    precision: Precision
    loss: float
    costs: Mapping[str, Number] = field(hash=False)


@dataclass(frozen=True)
class LayerChoices:
    """A layer, or a group of its output channels, and the choices that it has."""

    name: str
    choices: tuple[Choice, ...]
    channels: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))


@dataclass(frozen=True)
class Evaluation:
    """Loss and costs of one selection, recomputed from the problem; costs and peaks are exact."""

    loss: float
    costs: Mapping[str, Fraction] = field(hash=False)

    def over_budget(self, budgets: Mapping[str, Fraction]) -> dict[str, Fraction]:
        """By how much each broken budget is exceeded; empty when all hold."""
        return {n: self.costs[n] - b for n, b in budgets.items() if self.costs[n] > b}


@dataclass(frozen=True, eq=False)
class AllocationProblem(ArrayValue):
    """Choose one precision per layer so that the total loss is least and every budget holds.

        min  sum_i loss[s_i] + pairwise terms    s.t.  sum_i cost_k[s_i] + ... <= budget_k

    The choices of all layers stand in flat arrays of length M; layer i owns the indices
    `choice_start[i]` up to `choice_start[i + 1]`. A *selection* is one such index per layer,
    shape (N,). Loss and costs: lower is better; costs are never negative, losses may be. Build small
    problems with `from_layers`. Raises `InputError` for anything that breaks a rule.
    """

    name: str
    layers: tuple[str, ...]
    choice_start: NDArray[np.int64]
    weight_bits: NDArray[np.int64]
    activation_bits: NDArray[np.int64]
    loss: NDArray[np.float64]
    costs: Mapping[str, ExactColumn]
    variants: tuple[str, ...] = ()
    channels: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    ties: tuple[Tie, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    peaks: tuple[Peak, ...] = ()
    fixed_costs: Mapping[str, Fraction] = field(default_factory=dict)
    budgets: Mapping[str, Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__.__get__(self)
        put("layers", tuple(self.layers))
        for name in ("choice_start", "weight_bits", "activation_bits"):
            put(name, _frozen(getattr(self, name), np.int64, name))
        put("loss", _frozen(self.loss, np.float64, "loss"))
        put("variants", tuple(self.variants) or ("",) * len(self.loss))
        put(
            "costs",
            {
                n: c if isinstance(c, ExactColumn) else ExactColumn.of(c, n)
                for n, c in self.costs.items()
            },
        )
        for name in ("ties", "interactions", "peaks"):
            put(name, tuple(getattr(self, name)))
        for name, kind in (("fixed_costs", "fixed cost"), ("budgets", "budget")):
            given = getattr(self, name)
            put(name, {n: exact(v, f"{kind} {n!r}") for n, v in given.items()})
        put("channels", {n: (int(a), int(b)) for n, (a, b) in self.channels.items()})
        put("_derived", {})
        check_problem(self)

    @classmethod
    def from_layers(
        cls, name: str, layers: Iterable[LayerChoices], **terms: Any
    ) -> AllocationProblem:
        """Build a problem from one `LayerChoices` per layer; `terms` are the optional fields."""
        layers = list(layers)
        flat = [(layer.name, choice) for layer in layers for choice in layer.choices]
        names = list(flat[0][1].costs) if flat else []
        for layer, choice in flat:
            if set(choice.costs) != set(names):
                raise InputError(
                    f"layer {layer!r}, choice {choice.precision}: every choice must name the same "
                    f"costs; expected {sorted(names)}, got {sorted(choice.costs)}"
                )
        return cls(
            name=name,
            layers=tuple(layer.name for layer in layers),
            choice_start=np.cumsum([0, *(len(layer.choices) for layer in layers)]),
            weight_bits=np.array([c.precision.weight_bits for _, c in flat], dtype=np.int64),
            activation_bits=np.array(
                [c.precision.activation_bits for _, c in flat], dtype=np.int64
            ),
            variants=tuple(c.precision.variant for _, c in flat),
            loss=np.array([_as_loss(c.loss, layer, c) for layer, c in flat], dtype=np.float64),
            costs={
                n: ExactColumn.of(
                    [
                        exact(c.costs[n], f"layer {layer!r}, choice {c.precision}: cost {n!r}")
                        for layer, c in flat
                    ],
                    n,
                )
                for n in names
            },
            channels={layer.name: layer.channels for layer in layers if layer.channels},
            **terms,
        )

    @property
    def cost_names(self) -> tuple[str, ...]:
        """Names of all costs, peaks last."""
        return (*self.costs, *dict.fromkeys(peak.cost for peak in self.peaks))

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of every layer by name."""
        return {name: i for i, name in enumerate(self.layers)}

    def precision(self, choice: int) -> Precision:
        """The precision at one index of the flat arrays."""
        bits = self.weight_bits[choice] * (FLOAT_BITS + 1) + self.activation_bits[choice]
        return _precision(int(bits), self.variants[choice])

    def span(self, layer: str | int) -> range:
        """The indices of a layer's choices in the flat arrays."""
        i = self.index[layer] if isinstance(layer, str) else layer
        return range(int(self.choice_start[i]), int(self.choice_start[i + 1]))

    def choices(self, layer: str | int) -> tuple[Choice, ...]:
        """The choices of one layer."""
        return tuple(
            Choice(
                self.precision(j),
                float(self.loss[j]),
                {n: plain(c.value(j)) for n, c in self.costs.items()},
            )
            for j in self.span(layer)
        )

    def __iter__(self) -> Iterator[LayerChoices]:
        for name in self.layers:
            yield LayerChoices(name, self.choices(name), self.channels.get(name))

    def __len__(self) -> int:
        return len(self.layers)

    def configuration(self, selection: NDArray[np.int64]) -> BitConfiguration:
        """The bit configuration of a selection."""
        bits = self.weight_bits[selection] * (FLOAT_BITS + 1) + self.activation_bits[selection]
        labels = list(map(self.variants.__getitem__, np.asarray(selection).tolist()))
        chosen = map(_precision, bits.tolist(), labels)
        if len(set(labels)) == 1:
            made = {b: _precision(b, labels[0]) for b in set(bits.tolist())}
            chosen = map(made.__getitem__, bits.tolist())
        return BitConfiguration(zip(self.layers, chosen, strict=True))

    def selection(self, configuration: Mapping[str, Precision]) -> NDArray[np.int64]:
        """The selection of a bit configuration; raises `InputError` for what is not offered."""
        for name in configuration:
            if name not in self.index:
                raise InputError(
                    f"problem {self.name!r} has no layer {name!r}; {nearest(name, self.layers)}"
                )
        return np.array([self._choice_of(n, configuration) for n in self.layers], dtype=np.int64)

    def _choice_of(self, layer: str, configuration: Mapping[str, Precision]) -> int:
        if layer not in configuration:
            raise InputError(f"the configuration says nothing of layer {layer!r}")
        wanted = configuration[layer]
        for j in self.span(layer):
            if self.precision(j) == wanted:
                return j
        offered = [self.precision(j).label for j in self.span(layer)]
        raise InputError(
            f"layer {layer!r} does not offer {wanted}; {nearest(wanted.label, offered)}"
        )

    def evaluate(self, selection: NDArray[np.int64]) -> Evaluation:
        """Recompute loss (by `math.fsum`) and every cost (exactly) of a selection."""
        selection = np.asarray(selection, dtype=np.int64)
        starts, stops = self.choice_start[:-1], self.choice_start[1:]
        if (
            selection.shape != starts.shape
            or np.any(selection < starts)
            or np.any(selection >= stops)
        ):
            raise InputError(
                f"a selection needs one choice index of each of the {len(self)} layers"
            )
        losses = self.loss[selection].tolist()
        costs = {n: c.total(selection) for n, c in self.costs.items()}
        for name in self.fixed_costs.keys() & costs.keys():
            costs[name] += self.fixed_costs[name]
        for term in self.interactions:
            a, b = (
                int(selection[self.index[n]] - self.choice_start[self.index[n]])
                for n in term.layers
            )
            losses.append(term.loss[a][b])
            for name, matrix in term.costs.items():
                costs[name] += matrix[a][b]
        for peak in self.peaks:
            bits = {n: int(self.activation_bits[selection[self.index[n]]]) for n in peak.layers}
            costs[peak.cost] = max(
                costs.get(peak.cost, Fraction(0)),
                peak.value(bits) + self.fixed_costs.get(peak.cost, 0),
            )
        return Evaluation(math.fsum(losses), costs)

    def broken_ties(self, selection: NDArray[np.int64]) -> list[Tie]:
        """The ties that a selection does not respect."""
        return [
            tie
            for tie in self.ties
            if len({tie.key(self.precision(int(selection[self.index[n]]))) for n in tie.layers}) > 1
        ]

    def with_budgets(self, budgets: Mapping[str, Number]) -> AllocationProblem:
        """The same problem under other budgets; nothing else is checked again or copied."""
        known = {
            n: check_budget(n, exact(v, f"budget {n!r}"), self.cost_names)
            for n, v in budgets.items()
        }
        twin = object.__new__(AllocationProblem)
        twin.__dict__.update(self.__dict__)
        twin.__dict__["budgets"] = known
        return twin

    def once(self, derive: Callable[..., T], *arguments: Hashable) -> T:
        """What `derive(problem, *arguments)` makes of the problem, worked out when first asked for.

        It is kept with the problem and shared by its twins under other budgets, so that `derive` must
        not look at the budgets, and nobody may change what it made.
        """
        derived: dict[object, T] = self.__dict__["_derived"]
        key = (derive, *arguments)
        if key not in derived:
            derived[key] = derive(self, *arguments)
        return derived[key]

    def __hash__(self) -> int:
        return hash((self.name, self.layers, self.loss.tobytes()))

    def __repr__(self) -> str:
        budgets = ", ".join(f"{n} <= {plain(b)}" for n, b in self.budgets.items()) or "none"
        return (
            f"AllocationProblem({self.name!r}: {len(self.layers)} layers, {len(self.loss)} choices, "
            f"costs {', '.join(self.cost_names) or 'none'}; budgets {budgets})"
        )


@lru_cache(maxsize=4096)
def _precision(bits: int, variant: str) -> Precision:
    """A precision by the bits of both sides in one number; few are asked for, but often."""
    return Precision(*divmod(bits, FLOAT_BITS + 1), variant)


def _frozen(values: ArrayLike, dtype: type[np.number[Any]], name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.array(values).ravel()
    if array.size and array.dtype.kind not in ("iu" if dtype is np.int64 else "iufO"):
        kind = "integers" if dtype is np.int64 else "numbers"
        raise InputError(f"{name} must be {kind}, got {array.dtype}")
    array = array.astype(dtype) + dtype(0)  # no -0.0: equal problems hash equally
    array.flags.writeable = False
    return array


def _as_loss(value: object, layer: str, choice: Choice) -> float:
    return float(exact(value, f"layer {layer!r}, choice {choice.precision}: loss"))
