"""The parts of a run configuration: types of its values, and one class per section, with defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bitwright import plugin_files, plugins
from bitwright.cost_models.devices import is_device_path
from bitwright.networks import TIE_RULES
from bitwright.problems.budgets import Budget
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.precision import LeastPrecision, Precision, parse_pin
from bitwright.problems.storage import group_size
from bitwright.quantization import TrainingRecipe
from bitwright.quantization.ptq.post_training import STEPS
from bitwright.quantization.ranges.clipping import find_rule


def _precision(value: Any) -> Precision:
    return value if isinstance(value, Precision) else Precision.parse(value)


PrecisionLabel = Annotated[Precision, BeforeValidator(_precision)]


def _pin(value: Any) -> Precision | LeastPrecision:
    return value if isinstance(value, Precision | LeastPrecision) else parse_pin(value)


Pin = Annotated[Precision | LeastPrecision, BeforeValidator(_pin)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]  # what torch takes, and numpy


class Section(BaseModel):
    """Keys of a part of the configuration; others are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class PluginSection(Section):
    """A plug-in by name, or as `FILE.py:CLASS`, with its options beside the name."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """The plug-in's options as given."""
        return dict(self.model_extra or {})

    @property
    def file(self) -> Path | None:
        """The file that the plug-in's class stands in; None for one that is registered."""
        found = plugin_files.split(self.name)
        return found[0] if found else None

    @property
    def label(self) -> str:
        """What its results are kept under: the name, or that of its class."""
        found = plugin_files.split(self.name)
        return found[1] if found else self.name


def _recipe(value: Any) -> TrainingRecipe:
    if isinstance(value, TrainingRecipe):
        return value
    if not isinstance(value, Mapping):
        raise InputError("must be a mapping of the recipe's settings")
    try:
        return TrainingRecipe(**plugins.checked_options(TrainingRecipe, value))
    except InputError as error:  # the message is put behind the key, which may be `verify.qat`
        raise InputError(str(error).removeprefix("training: ")) from None


Recipe = Annotated[TrainingRecipe, BeforeValidator(_recipe)]


def _budgets(value: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, amount in value.items():
        Budget.of(name, amount)
    return value


BudgetSet = Annotated[dict[str, Any], AfterValidator(_budgets)]


def _one_of(known: Iterable[str], what: str = "rule") -> Callable[[str], str]:
    def checked(name: str) -> str:
        if name not in known:
            raise InputError(f"unknown {what} {name!r}; {nearest(name, known)}")
        return name

    return checked


TieRule = Annotated[str, AfterValidator(_one_of(TIE_RULES))]


def _rule(side: Literal["weight", "activation"]) -> Callable[[str], str]:
    def checked(name: str) -> str:
        find_rule(side, name)
        return name

    return checked


def _granularity(value: str) -> str:
    group_size(value)
    return value


def _device(value: Any) -> Any:
    """A path where one is meant, so that it is anchored at the configuration's folder."""
    return Path(value) if isinstance(value, str) and is_device_path(value) else value


DeviceName = Annotated[str | Path | None, BeforeValidator(_device)]


class CalibrationSection(Section):
    """How ranges are found: rules by name, and how many batches of the train split are looked at.

    With `fold_batch_norms` they are folded into the layers once the float network is trained, and
    everything that follows is done with the folded network.
    """

    weight_rule: Annotated[str, AfterValidator(_rule("weight"))] = "mse"
    activation_rule: Annotated[str, AfterValidator(_rule("activation"))] = "mse"
    weight_scheme: Literal["symmetric", "affine"] = "symmetric"
    weight_granularity: Annotated[str, AfterValidator(_granularity)] = "channel"
    activation_scheme: Literal["affine", "symmetric"] = "affine"
    activation_ranges: Literal["static", "dynamic"] = "static"
    fold_batch_norms: bool = False
    batches: int = Field(default=8, ge=1)
    batch_size: int = Field(default=64, ge=1)

    @property
    def rules(self) -> dict[str, Any]:
        """What `bitwright.quantization.calibrate` takes, by its own names: all that is no data."""
        data = ("batches", "batch_size", "fold_batch_norms")
        return {name: getattr(self, name) for name in type(self).model_fields if name not in data}


def _off(value: Any) -> Any:
    return "off" if value is False else value  # YAML reads a bare `off` as false


class VariantsSection(Section):
    """Other forms of the precisions that are offered to the layers that can take them.

    `hybrid`: where a nonlinear activation follows, `auto` makes every integer precision hybrid, and
    `choice` offers it as hybrid and as integer. `svd`: ranks of fully connected layers, as shares of
    the rank from which factors save nothing.
    """

    hybrid: Annotated[Literal["off", "auto", "choice"], BeforeValidator(_off)] = "off"
    svd: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()


class CriticalSection(Section):
    """Which classes are critical: named ones, or those confused above a threshold, or the top k pairs."""

    classes: tuple[str, ...] | None = None
    threshold: float = Field(default=0.05, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)


class FrontSection(Section):
    """The front that is drawn: its cost, how many of its points keep their bits."""

    cost: str
    points: int = Field(default=30, ge=2)


class VerifySection(Section):
    """What is measured for real: named solutions, points of the front, uniform configurations.

    Every one is measured on the test split after post-training quantization, improved by the named
    steps of `bitwright.quantization.ptq.post_training` (docs/quantization.md), and, for each seed,
    after quantization-aware training by the recipe `qat` (none: PTQ only). `keep_weights` keeps the
    trained networks in the run folder; `jobs` measurements run at a time, with the same figures.
    """

    solutions: bool = True
    front_points: int = Field(default=3, ge=0)
    uniform: tuple[PrecisionLabel, ...] = ()
    post_training: tuple[Annotated[str, AfterValidator(_one_of(STEPS, "step"))], ...] = ()
    qat: Recipe | None = None
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    keep_weights: bool = True
    jobs: int = Field(default=1, ge=1)
