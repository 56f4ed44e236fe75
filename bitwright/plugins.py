"""The registry: solvers, cost models, significance measures, tasks and runtimes, from entry points.

Ours and other people's come through the same door. Names are listed without importing anything; a
plug-in that cannot be imported spoils only its own use. `FILE.py:CLASS` names a class of a file.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from bitwright import plugin_files
from bitwright.plugin_files import PluginError
from bitwright.problems.errors import BitwrightError, InputError, missing_dependency, nearest
from bitwright.problems.formats.json_text import naming

if TYPE_CHECKING:
    from pydantic import BaseModel

Kind = Literal["solvers", "cost_models", "significance", "tasks", "runtimes"]

_WORDS = {
    "solvers": "solver",
    "cost_models": "cost model",
    "significance": "significance measure",
    "tasks": "task",
    "runtimes": "runtime",
}

_METHODS = {
    "solvers": ("solve",),
    "cost_models": ("cost", "peaks", "for_network"),
    "significance": ("measure",),
    "tasks": ("build_model",),
    "runtimes": ("load",),
}
"""What a class from a file needs one of to be taken for a plug-in of the kind."""

_EXAMPLES = {"solvers": "ilp:pulp_solver=HiGHS", "cost_models": "latency_table:file=board.csv"}


def known(kind: Kind) -> dict[str, list[EntryPoint]]:
    """The registered entry points of a kind by name; nothing is imported."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=f"bitwright.{kind}"):
        same = found.setdefault(point.name, [])
        # An editable install beside a wheel lists one plug-in twice; that is no contradiction.
        if all(point.value != other.value for other in same):
            same.append(point)
    return dict(sorted(found.items()))


def load(kind: Kind, name: str) -> type[Any]:
    """Import the plug-in class of that name; raises `InputError` or `PluginError`."""
    word = _WORDS[kind]
    if found := plugin_files.split(name):
        return plugin_files.load_class(*found, word, _METHODS[kind])
    registered = known(kind)
    if name not in registered:
        if name.endswith(".py"):
            raise InputError(f"{word} {name!r}: the class is named behind the file: {name}:CLASS")
        raise InputError(f"unknown {word} {name!r}; {nearest(name, registered)}")
    points = registered[name]
    if len(points) > 1:
        homes = ", ".join(sorted(p.value for p in points))
        raise PluginError(
            f"{word} {name!r} is registered more than once ({homes}); remove all but one"
        )
    try:
        plugin = points[0].load()
    except BitwrightError:
        raise
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == points[0].module.partition(".")[0]:
            raise _broken(word, points[0], error) from error
        raise missing_dependency(f"{word} {name!r}", error.name) from error
    # Anything at all may go wrong inside somebody else's module; the cause stays attached.
    except Exception as error:
        raise _broken(word, points[0], error) from error
    if not callable(plugin):
        raise PluginError(f"{word} {name!r} must be a class, got {plugin!r}")
    return plugin  # type: ignore[no-any-return]


def _broken(word: str, point: EntryPoint, error: Exception) -> PluginError:
    home = point.dist.name if point.dist else point.value
    return PluginError(
        f"{word} {point.name!r} of package {home!r} cannot be imported: {type(error).__name__}: {error}"
    )


def parse(kind: Kind, text: str) -> tuple[str, dict[str, Any]]:
    """Name and options of a text `NAME[:OPTION=VALUE...]`, as commands take it.

    The name may be `FILE.py:CLASS`, and of a cost model `FILE.csv`, a table of measured costs.

    >>> parse("cost_models", "board.csv:cost=energy_uj")
    ('latency_table', {'file': 'board.csv', 'cost': 'energy_uj'})
    """
    word = _WORDS[kind]
    name, *parts = text.split(":")
    options: dict[str, Any] = {}
    if name.endswith(".py") and parts:
        name = f"{name}:{parts.pop(0)}"
    elif name.endswith(".csv") and kind == "cost_models":
        name, options = "latency_table", {"file": name}
    for part in parts:
        option, equals, value = part.partition("=")
        if not equals or not option:
            raise InputError(
                f"a {word} is written NAME[:OPTION=VALUE...], such as {_EXAMPLES.get(kind, name)}, "
                f"got {text!r}"
            )
        if option in options:
            raise InputError(f"{word} {name!r}: option {option!r} is given twice")
        options[option] = value
    return name, options


def create(kind: Kind, name: str, options: Mapping[str, Any] | None = None, place: str = "") -> Any:
    """Make the plug-in of that name with checked options; `place` names the options in errors."""
    plugin, place = load(kind, name), place or f"{_WORDS[kind]} {name!r}"
    values: dict[str, Any] = {}
    if options or _required(plugin):
        values = checked_options(plugin, options or {}, place)
    with naming(place):
        try:
            made = plugin(**values)
        except BitwrightError:
            raise
        # Anything at all may go wrong inside somebody else's class; the cause stays attached.
        except Exception as error:
            raise InputError(f"cannot be made: {type(error).__name__}: {error}") from error
    if kind == "cost_models":
        _check_cost_model(made, place)
    return made


def _check_cost_model(made: Any, place: str) -> None:
    if not isinstance(getattr(made, "name", None), str):
        raise InputError(
            f"{place}: a cost model needs a `name` that carries its unit, such as 'latency_us'"
        )
    methods = () if hasattr(made, "peaks") else ("cost", "fixed_cost")
    for method in methods:
        if not callable(getattr(made, method, None)):
            raise InputError(
                f"{place}: class {type(made).__name__!r} has no method {method!r}; a cost model has "
                "`cost` and `fixed_cost`, or `peaks`"
            )


def _required(plugin: type[Any]) -> bool:
    parameters = inspect.signature(plugin).parameters.values()
    return any(
        p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters
    )


def options_model(plugin: type[Any]) -> type[BaseModel]:
    """The schema of a plug-in's options, read from its constructor's annotated arguments."""
    from pydantic import ConfigDict, create_model

    hints = get_type_hints(plugin.__init__, include_extras=True)
    fields: dict[str, Any] = {}
    extra: Literal["allow", "forbid"] = "forbid"
    for name, parameter in inspect.signature(plugin).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)
    config = ConfigDict(extra=extra, arbitrary_types_allowed=True, protected_namespaces=())
    model: type[BaseModel] = create_model(plugin.__name__, __config__=config, **fields)
    return model


def checked_options(
    plugin: type[Any], options: Mapping[str, Any], place: str = ""
) -> dict[str, Any]:
    """Return every option with its value or default; raises `InputError` naming place and key."""
    from pydantic import ValidationError

    from bitwright.schema import first_problem

    model = options_model(plugin)
    for name, value in options.items():
        field = model.model_fields.get(name)
        if isinstance(value, bool) and field is not None and field.annotation in (int, float):
            raise InputError(f"{place}: {name}: must be a number, got {value}")
    try:
        values = model.model_validate(dict(options))
    except ValidationError as error:
        what = first_problem(error, model)
        raise InputError(f"{place}: {what}" if place else what) from None
    return {
        name: getattr(values, name) for name in (*model.model_fields, *(values.model_extra or {}))
    }
