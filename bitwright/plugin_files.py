"""Plug-ins from a file of the user's own, named `FILE.py:CLASS` wherever a plug-in is named.

Just that file is run, when it is named; its folder does not become a place to import from.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from bitwright.problems.errors import BitwrightError, InputError, nearest
from bitwright.problems.formats.json_text import read_text

_FILE_AND_CLASS = re.compile(r"(.+\.py):([^:]+)")


class PluginError(BitwrightError, ImportError):
    """A plug-in could not be loaded or made; the message names it and where it comes from."""


def split(name: str) -> tuple[Path, str] | None:
    """File and class of a name such as `my_costs.py:Energy`; None for any other name."""
    match = _FILE_AND_CLASS.fullmatch(name)
    return (Path(match[1]), match[2]) if match else None


def anchored(name: str, folder: Path) -> str:
    """The name with its file seen from a folder; what names no file stays as it is."""
    found = split(name)
    return f"{folder / found[0]}:{found[1]}" if found else name


def load_class(file: Path, name: str, word: str, methods: tuple[str, ...]) -> type[Any]:
    """Run the file and return its class of that name; `word` says what it should be.

    The class needs one of the `methods`. Raises `InputError` where there is no such file or class,
    or no such method, and `PluginError` where the file cannot be run.
    """
    module = _module(file, word)
    # What the file only imports is no offer of its own, but may be asked for by name.
    classes = [n for n, v in vars(module).items() if isinstance(v, type)]
    plugin = vars(module).get(name)
    if not isinstance(plugin, type):
        own = [n for n in classes if vars(module)[n].__module__ == module.__name__]
        raise InputError(f"{file}: has no class {name!r}; {nearest(name, own)}")
    if methods and not any(callable(getattr(plugin, method, None)) for method in methods):
        wanted = " or ".join(repr(method) for method in methods)
        raise InputError(f"{file}: class {name!r} is no {word}: it has no method {wanted}")
    return plugin


def _module(file: Path, word: str) -> ModuleType:
    """The file as a module, run anew when its text has changed."""
    text = read_text(file)
    digest = hashlib.sha256(f"{file.resolve()}\n{text}".encode()).hexdigest()[:16]
    name = f"bitwright_file_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module  # dataclasses and pickle look a class up by its module
    try:
        exec(compile(text, str(file), "exec"), module.__dict__)
    # Anything at all may go wrong inside somebody else's file; the cause stays attached.
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(f"{word} file {file}{_line(file, error)}: {what}") from error
    return module


def _line(file: Path, error: BaseException) -> str:
    """Where in the file it went wrong, if that is known."""
    if isinstance(error, SyntaxError):
        return ""  # its own text names the line
    step, line = error.__traceback__, 0
    while step is not None:
        if step.tb_frame.f_code.co_filename == str(file):
            line = step.tb_lineno
        step = step.tb_next
    return f", line {line}" if line else ""
