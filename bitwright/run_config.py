"""The run configuration: what `bitwright run` reads from a YAML file, checked before anything runs.

Unknown keys are refused with file, key and nearest valid key. Paths are relative to the folder of
the file; `${NAME}` in a text stands for an environment variable.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from bitwright import plugin_files, plugins
from bitwright.cost_models.devices import load_device
from bitwright.networks import DEFAULT_TIES
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats.json_text import naming, read_text
from bitwright.problems.formats.yaml_text import parse_yaml
from bitwright.problems.precision import LeastPrecision, Precision
from bitwright.quantization import TrainingRecipe
from bitwright.run_config_sections import (
    BudgetSet,
    CalibrationSection,
    CriticalSection,
    DeviceName,
    FrontSection,
    Pin,
    PluginSection,
    PrecisionLabel,
    Recipe,
    Section,
    Seed,
    TieRule,
    VariantsSection,
    VerifySection,
)
from bitwright.schema import first_problem

__all__ = [
    "CalibrationSection",
    "CriticalSection",
    "FrontSection",
    "PluginSection",
    "RunConfig",
    "VariantsSection",
    "VerifySection",
    "parse_run_config",
    "read_run_config",
]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class RunConfig(Section):
    """A complete run."""

    name: str = Field(pattern=_NAME)
    seed: Seed = 0
    threads: int = Field(default=1, ge=1)
    task: PluginSection
    training: Recipe
    calibration: CalibrationSection = CalibrationSection()
    precisions: tuple[PrecisionLabel, ...] = Field(min_length=1)
    variants: VariantsSection = VariantsSection()
    device: DeviceName = None
    pins: dict[str, Pin] = Field(default_factory=dict)
    ties: tuple[TieRule, ...] = DEFAULT_TIES
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
        # The plug-in's own name comes last: an argument `name` of its constructor keeps its default.
        return PluginSection.model_validate(anchored | {"name": name})

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
