"""What the schema library finds wrong, as one line with key, rule, value and nearest valid key."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from bitwright.problems.errors import nearest

_WORDS = {
    "tuple_type": "must be a list",
    "too_short": "must hold one entry or more",
    "string_pattern_mismatch": "must be a plain name: letters, digits, '.', '_' and '-', at most 64",
}
"""What the library says in terms of Python or of patterns, in those of the file."""


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """The first thing wrong, unknown keys before all else: a typo explains the rest."""
    found = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    first = found[0]
    path = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        home = _model_at(model, first["loc"][:-1])
        keys = list(home.model_fields) if home else []
        return f"unknown key {path!r}; {nearest(str(first['loc'][-1]), keys)}"
    if first["type"] == "missing":
        return f"key {path!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    rule = _WORDS.get(first["type"]) or message[0].lower() + message[1:]
    if first["type"] == "value_error":
        return f"{path}: {rule}" if path else rule
    return f"{path}: {rule}, got {_short(first['input'])}"


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The schema of the object that stands at a path, if there is just one."""
    home: type[BaseModel] | None = model
    for step in path:
        if home is None or isinstance(step, int) or step not in home.model_fields:
            continue
        home = _model_in(home.model_fields[step].annotation)
    return home


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in get_args(annotation) if (m := _model_in(a)) is not None), None)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
