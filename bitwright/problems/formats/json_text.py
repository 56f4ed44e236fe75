"""JSON with exact decimals, strict reading, and one-line errors that name the file and the place."""

from __future__ import annotations

import json
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.exact import decimal_digits, exact


def read_json(path: str | Path) -> Any:
    """Parse a file; decimals become `Decimal`, a repeated key or NaN is refused."""
    return parse_json(read_text(path), str(path))


LARGEST_BYTES = 64 * 10**6
"""What tables and profiles of measurements may have; a million rows are smaller."""


def read_text(path: str | Path, *, largest_bytes: int | None = None) -> str:
    """Return a file's text (UTF-8, with or without BOM); raises `InputError` naming the file.

    With `largest_bytes`, a larger file is refused before it is read, and so is what is no regular
    file, such as a pipe that never ends.
    """
    try:
        if largest_bytes is not None:
            _require_small(Path(path), largest_bytes)
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{_beside(Path(path))}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _require_small(path: Path, largest_bytes: int) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: cannot be read: not a regular file")
    if status.st_size > largest_bytes:
        raise InputError(
            f"{path}: a file of this kind has at most {largest_bytes:,} bytes, got {status.st_size:,}"
        )


def _beside(path: Path) -> str:
    """Name the nearest file in the same folder, if there is one that is near."""
    try:
        known = [p.name for p in path.parent.iterdir()]
    except OSError:
        return ""
    hint = nearest(path.name, known)
    return f"; {hint.split('?')[0]}?" if hint.startswith("did you mean") else ""


def parse_json(text: str, source: str) -> Any:
    """Parse JSON text; `source` names it in errors."""

    def refuse_constant(name: str) -> NoReturn:
        raise InputError(f"{source}: {name} is not a number that JSON allows")

    def decimal(text: str) -> Decimal:
        try:
            return Decimal(text)
        except InvalidOperation:  # an exponent beyond what Decimal holds
            raise InputError(f"{source}: number out of range: {text[:60]}") from None

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(pairs)
        if len(document) != len(pairs):
            counts = Counter(name for name, _ in pairs)
            twice = next(name for name, count in counts.items() if count > 1)
            raise InputError(f"{source}: key {twice!r} is given twice in one object")
        return document

    try:
        return json.loads(
            text, parse_float=decimal, parse_constant=refuse_constant, object_pairs_hook=unique
        )
    except json.JSONDecodeError as error:
        raise InputError(
            f"{source}: not valid JSON, line {error.lineno} column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise InputError(f"{source}: nested too deeply") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{source}: not valid JSON: {error}") from None


def dump_json(document: Any, *, indent: int | None = 1) -> str:
    """Write a document of dicts, lists, strings and numbers; a `Fraction` is written as its decimal."""
    return _dump(document, indent, 0)


def _dump(value: Any, indent: int | None, depth: int) -> str:
    if isinstance(value, Fraction):
        return decimal_text(value)
    is_object = isinstance(value, Mapping)
    if not is_object and (isinstance(value, str) or not isinstance(value, Sequence)):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    opening, closing = "{}" if is_object else "[]"
    if is_object:
        items = [
            f"{json.dumps(k, ensure_ascii=False)}: {_dump(v, indent, depth + 1)}"
            for k, v in value.items()
        ]
    else:
        items = [_dump(v, indent, depth + 1) for v in value]
    flat = f"{opening}{', '.join(items)}{closing}"
    if indent is None or not items or (len(flat) <= 120 and "\n" not in flat):
        return flat
    pad = " " * (indent * (depth + 1))
    inner = f",\n{pad}".join(items)
    return f"{opening}\n{pad}{inner}\n{' ' * (indent * depth)}{closing}"


def decimal_text(value: Fraction) -> str:
    """The shortest decimal that is exactly the value; raises `InputError` where none is finite."""
    digits = decimal_digits(value)
    scaled = value.numerator * (10**digits // value.denominator)
    if digits == 0:
        return str(scaled)
    sign, whole = ("-", -scaled) if scaled < 0 else ("", scaled)
    text = str(whole).rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}"


@contextmanager
def naming(source: str, place: str = "") -> Iterator[None]:
    """Put source and place in front of every `InputError` raised inside that does not name them."""
    try:
        yield
    except InputError as error:
        if str(error).startswith(f"{source}: "):
            raise
        where = f"{source}: {place}" if place else source
        raise type(error)(f"{where}: {error}") from None


class Place:
    """One spot in a document, with checked access: every error names file, place, rule and value."""

    def __init__(self, value: Any, source: str, path: str = "") -> None:
        self.value, self.source, self.path = value, source, path

    def fail(self, message: str) -> NoReturn:
        """Raise `InputError` with this place in front."""
        where = f"{self.source}: {self.path}" if self.path else self.source
        raise InputError(f"{where}: {message}")

    def keys(self, required: Sequence[str], optional: Sequence[str] = ()) -> None:
        """Require an object with just these keys."""
        known = (*required, *optional)
        for name in self.mapping():
            if name not in known:
                self.fail(f"unknown key {name!r}; {nearest(name, known)}")
        for name in required:
            if name not in self.value:
                self.fail(f"key {name!r} is missing")

    def kind(self, expected: str) -> None:
        """Refuse a document of another of our formats by its name, before its keys are looked at."""
        found = self.mapping().get("format")
        theirs, ours = str(found).partition("/")[0], expected.partition("/")[0]
        if theirs.startswith("bitwright-") and theirs != ours:
            self.fail(
                f"is a {theirs.removeprefix('bitwright-')} ({found}), where {expected} is needed"
            )

    def __getitem__(self, key: str | int) -> Place:
        name = key if isinstance(key, int) or key.isprintable() else repr(key)
        step = f"[{name}]" if isinstance(key, int) else f".{name}" if self.path else f"{name}"
        return Place(self.value[key], self.source, f"{self.path}{step}")

    def __contains__(self, key: str) -> bool:
        return key in self.mapping()

    def mapping(self) -> dict[str, Any]:
        """The value as an object."""
        return (
            self.value
            if isinstance(self.value, dict)
            else self.fail(f"must be an object, got {_short(self.value)}")
        )

    def items(self) -> list[Place]:
        """The places of a list."""
        if not isinstance(self.value, list):
            self.fail(f"must be a list, got {_short(self.value)}")
        return [self[i] for i in range(len(self.value))]

    def fields(self) -> list[tuple[str, Place]]:
        """The places of an object by key."""
        return [(name, self[name]) for name in self.mapping()]

    def text(self) -> str:
        """The value as a string."""
        return (
            self.value
            if isinstance(self.value, str)
            else self.fail(f"must be a string, got {_short(self.value)}")
        )

    def integer(self) -> int:
        """The value as an integer."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.fail(f"must be an integer, got {_short(self.value)}")
        return int(self.value)

    def number(self) -> int | Decimal:
        """The value as an exact number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | Decimal):
            self.fail(f"must be a number, got {_short(self.value)}")
        return self.value

    def exact(self) -> Fraction:
        """The value as an exact number within the range of floats."""
        with naming(self.source, self.path):
            return exact(self.number())

    def real(self) -> float:
        """The value as the nearest float."""
        return float(self.exact())

    def boolean(self) -> bool:
        """The value as true or false."""
        return (
            self.value
            if isinstance(self.value, bool)
            else self.fail(f"must be true or false, got {_short(self.value)}")
        )

    def choice(self, known: Sequence[str]) -> str:
        """The value as one of the known words."""
        word = self.text()
        return word if word in known else self.fail(f"{word!r} is unknown; {nearest(word, known)}")


def _short(value: Any) -> str:
    is_decimal = isinstance(value, Decimal)
    text = str(value) if is_decimal else json.dumps(value, default=str, ensure_ascii=False)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text if text.isprintable() else ascii(text)[1:-1]
