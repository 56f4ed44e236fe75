"""What the schema library finds wrong, in one line."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from bitwright.schema import first_problem


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    level: int = 0


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    one: Inner | None = None
    many: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ({"on": 1}, "unknown key 'on'; did you mean 'one'? Known: 'many', 'one'"),
        ({"one": {"levl": 1}}, "unknown key 'one.levl'; did you mean 'level'? Known: 'level'"),
        ({"many": [{}, {"levl": 1}]}, "unknown key 'many.1.levl'; did you mean 'level'? Known: 'level'"),
        ({"many": [{"level": "x"}], "onn": 1}, "unknown key 'onn'; did you mean 'one'? Known: 'many', 'one'"),
        ({"one": {"level": "y" * 99}}, f"one.level: input should be a valid integer, unable to parse string as an integer, got '{'y' * 56}..."),
    ],
)  # fmt: skip
def test_one_line_with_key_rule_and_value(document, line):
    """Unknown keys come first, at any depth with the keys of their own object; long values are cut."""
    with pytest.raises(ValidationError) as error:
        Outer.model_validate(document)
    assert first_problem(error.value, Outer) == line
