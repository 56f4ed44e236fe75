"""Strict YAML: keys once and as text, aliases within bounds, scalars as written where so asked."""

from __future__ import annotations

import time

import pytest

from bitwright.problems import InputError
from bitwright.problems.formats.yaml_text import parse_yaml


def laughs(levels: int) -> str:
    """Nested aliases, ten of each level: 10 ** levels values in a few lines."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for k in range(1, levels):
        lines.append(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]")
    return "\n".join(lines)


def test_plain_text_takes_scalars_as_written():
    """What YAML 1.1 reads as booleans, octal, sexagesimal or text are strings, aliases followed."""
    text = "a: no\nb: 010\nc: 1:30\nd: 6e9\ne: &x ~\nf: [*x, 2024-13-01]\ng: 'q'"
    assert parse_yaml(text, plain_text=True) == {
        "a": "no", "b": "010", "c": "1:30", "d": "6e9", "e": "~", "f": ["~", "2024-13-01"], "g": "q",
    }  # fmt: skip
    assert parse_yaml("a: no\nb: 3") == {"a": False, "b": 3}
    assert parse_yaml("") is parse_yaml("# nothing", plain_text=True) is None


@pytest.mark.parametrize("plain_text", [False, True])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", "line 4: key 'c' is given twice"),
        ("a: &a {b: *a}", "line 1: an alias stands inside itself"),
        ("a: *b", "not valid YAML: line 1: found undefined alias 'b'"),
        ("? [a]\n: b", "line 1: a key must be text, got "),
        ("a: [" * 3000, "nested too deeply"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: 1\n---\nb: 1", "another document"),
        ("a: \x00", "not valid YAML"),
        (laughs(12), "aliases repeat more than 100,000 values"),
    ],
)  # fmt: skip
def test_bad_text(text, message, plain_text):
    """Each mistake is one line; a dozen lines that stand for a trillion values are refused at once."""
    began = time.perf_counter()
    with pytest.raises(InputError) as error:
        parse_yaml(text, plain_text=plain_text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert time.perf_counter() - began < 5


def test_merged_mappings_are_bounded_too():
    """`<<` copies what it names, as often as it names it."""
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 10)}]}}" for k in range(1, 9)]
    with pytest.raises(InputError, match="aliases repeat more than"):
        parse_yaml("\n".join(lines))
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}")["b"] == {"x": 1, "y": 2}


def test_few_aliases_are_fine():
    """A source named by a hundred figures is no attack."""
    text = "s: &s words\nf: [" + ", ".join(["{v: 1, s: *s}"] * 100) + "]"
    assert len(parse_yaml(text)["f"]) == 100
