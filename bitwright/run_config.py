"""The run configuration: what `bitwright run` reads from a YAML file, checked before anything runs.

Unknown keys are refused with file, key and nearest valid key. Paths are relative to the folder of
the file; `${NAME}` in a text stands for an environment variable.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from bitwright import plugin_files, plugins
from bitwright.cost_models.devices import is_device_path, load_device
from bitwright.networks import DEFAULT_TIES, TIE_RULES
from bitwright.problems.budgets import Budget
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats.json_text import naming, read_text
from bitwright.problems.formats.yaml_text import parse_yaml
from bitwright.problems.precision import LeastPrecision, Precision, parse_pin
from bitwright.problems.storage import group_size
from bitwright.quantization import TrainingRecipe
from bitwright.quantization.ptq.post_training import STEPS
from bitwright.quantization.ranges.clipping import find_rule
from bitwright.schema import first_problem

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def _precision(value: Any) -> Precision:
    return value if isinstance(value, Precision) else Precision.parse(value)


PrecisionLabel = Annotated[Precision, BeforeValidator(_precision)]


def _pin(value: Any) -> Precision | LeastPrecision:
    return value if isinstance(value, Precision | LeastPrecision) else parse_pin(value)


Pin = Annotated[Precision | LeastPrecision, BeforeValidator(_pin)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]  # what torch takes, and numpy


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class PluginSection(_Section):
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


class CalibrationSection(_Section):
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


class VariantsSection(_Section):
    """Other forms of the precisions that are offered to the layers that can take them.

    `hybrid`: where a nonlinear activation follows, `auto` makes every integer precision hybrid, and
    `choice` offers it as hybrid and as integer. `svd`: ranks of fully connected layers, as shares of
    the rank from which factors save nothing.
    """

    hybrid: Annotated[Literal["off", "auto", "choice"], BeforeValidator(_off)] = "off"
    svd: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()


class CriticalSection(_Section):
    """Which classes are critical: named ones, or those confused above a threshold, or the top k pairs."""

    classes: tuple[str, ...] | None = None
    threshold: float = Field(default=0.05, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)


class FrontSection(_Section):
    """The front that is drawn: its cost, how many of its points keep their bits."""

    cost: str
    points: int = Field(default=30, ge=2)


class VerifySection(_Section):
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


class RunConfig(_Section):
    """A complete run."""

    name: str = Field(pattern=_NAME)
    seed: Seed = 0
    threads: int = Field(default=1, ge=1)
    task: PluginSection
    training: Recipe
    calibration: CalibrationSection = CalibrationSection()
    precisions: tuple[PrecisionLabel, ...] = Field(min_length=1)
    variants: VariantsSection = VariantsSection()
    device: Annotated[str | Path | None, BeforeValidator(_device)] = None
    pins: dict[str, Pin] = Field(default_factory=dict)
    ties: tuple[Annotated[str, AfterValidator(_one_of(TIE_RULES))], ...] = DEFAULT_TIES
    critical: CriticalSection = CriticalSection()
    significance: tuple[PluginSection, ...] = Field(
        default=(PluginSection(name="semantic"), PluginSection(name="overall")), min_length=1
    )
    clean_up: bool = True
    costs: tuple[PluginSection, ...] = Field(min_length=1)
    solver: PluginSection | None = None
    solutions: dict[str, BudgetSet]
    front: FrontSection
    verify: VerifySection = VerifySection()

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        labels = [p.label for p in self.precisions]
        for key, names in (
            ("precisions", labels),
            ("significance", [section.label for section in self.significance]),
            ("verify.seeds", [str(seed) for seed in self.verify.seeds]),
        ):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{key}: {twice[0]} is given twice")
        for precision in self.verify.uniform:
            if precision.label not in labels:
                raise ValueError(
                    f"verify.uniform: {precision.label!r} is not among the precisions; "
                    f"{nearest(precision.label, labels)}"
                )
        for name in self.solutions:
            if not re.fullmatch(_NAME, name):
                raise ValueError(
                    f"solutions: {name!r} must be a plain name of letters, digits, '.', '_' and '-'"
                )
        return self

    def document(self) -> dict[str, Any]:
        """The whole configuration with every default, as plain values that YAML can hold."""
        return _plain(self, path=str)  # type: ignore[no-any-return]

    def identity(self) -> dict[str, Any]:
        """What results follow from: no paths, since what files hold counts, and no number of jobs."""
        document: dict[str, Any] = _plain(self, path=lambda _: None)
        del document["verify"]["jobs"]
        return document

    def files(self, keys: Collection[str]) -> list[Path]:
        """The files of these keys, and those that their plug-ins stand in and read.

        What a task reads is left out: it digests its data itself.
        """
        found = []
        for key in keys:
            value = getattr(self, key)
            if isinstance(value, Path):
                found.append(value)
            sections = value if isinstance(value, tuple) else (value,)
            for section in sections:
                if isinstance(section, PluginSection):
                    found += [section.file] if section.file else []
                if isinstance(section, PluginSection) and key != "task":
                    found += [v for v in section.options.values() if isinstance(v, Path)]
        return found


def _plain(value: Any, path: Callable[[Path], str | None]) -> Any:
    if isinstance(value, PluginSection):
        name = f"{path(value.file) or ''}:{value.label}" if value.file else value.name
        value = {"name": name, **value.options}
    elif isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, TrainingRecipe):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(v, path) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, path) for v in value]
    if isinstance(value, Path):
        return path(value)
    return value.label if isinstance(value, Precision | LeastPrecision) else value


def read_run_config(path: str | Path, **overrides: Any) -> RunConfig:
    """Read and check a run configuration; raises `InputError` naming file, key, rule and value.

    `overrides` replace top-level keys; None keeps what the file says.
    """
    return parse_run_config(read_text(path), str(path), **overrides)


def parse_run_config(text: str, source: str, **overrides: Any) -> RunConfig:
    """Check the text of a run configuration; `source` names it in errors and anchors its paths."""
    with naming(source):
        try:
            document = _with_environment(_read_yaml(text), "")
        except RecursionError:
            raise InputError("nested too deeply") from None
        document |= {key: value for key, value in overrides.items() if value is not None}
        try:
            config = RunConfig.model_validate(document)
        except ValidationError as error:
            raise InputError(first_problem(error, RunConfig)) from None
        return _with_checked_plugins(config, Path(source).resolve().parent)


def _read_yaml(text: str) -> dict[str, Any]:
    document = parse_yaml(text)
    if not isinstance(document, dict):
        raise InputError(f"a run configuration is a mapping of keys, got {type(document).__name__}")
    return document


def _with_environment(value: Any, place: str) -> Any:
    if isinstance(value, dict):
        return {k: _with_environment(v, f"{place}.{k}".lstrip(".")) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_environment(v, f"{place}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            ours = [name for name in os.environ if name.startswith("BITWRIGHT")]
            hint = f"; {nearest(match[1], ours)}" if ours else ""
            raise InputError(f"{place}: environment variable {match[1]!r} is not set{hint}")
        text = os.environ[match[1]]
        # A variable that leads to a folder is meant from where the user stands, not from the file.
        is_path = match.start() == 0 and Path(text).exists()
        return str(Path(text).resolve()) if is_path else text

    return _VARIABLE.sub(replace, value)


_GRID_OPTIONS = ("weight_scheme", "weight_granularity")


def _with_checked_plugins(config: RunConfig, folder: Path) -> RunConfig:
    """Fill in the defaults of every plug-in's options, and anchor their paths at the folder.

    What a cost model wants to know of the weights' grids is what the calibration says.
    """
    if isinstance(config.device, str):
        load_device(config.device)  # refuses an unknown name
    grids = {name: getattr(config.calibration, name) for name in _GRID_OPTIONS}

    def filled(kind: plugins.Kind, section: PluginSection, place: str) -> PluginSection:
        name = plugin_files.anchored(section.name, folder)
        plugin, given = plugins.load(kind, name), section.options
        if kind == "cost_models":
            known = inspect.signature(plugin).parameters
            given = {n: v for n, v in grids.items() if n in known} | dict(given)
        options = plugins.checked_options(plugin, given, f"{place} {section.name!r}")
        anchored = {n: folder / v if isinstance(v, Path) else v for n, v in options.items()}
        return PluginSection.model_validate(
            anchored | {"name": name}
        )  # an argument `name` keeps its default

    return config.model_copy(
        update={
            "task": filled("tasks", config.task, "task"),
            "significance": tuple(
                filled("significance", s, "significance") for s in config.significance
            ),
            "costs": tuple(filled("cost_models", c, "costs") for c in config.costs),
            "solver": config.solver and filled("solvers", config.solver, "solver"),
            "device": folder / config.device if isinstance(config.device, Path) else config.device,
        }
    )
