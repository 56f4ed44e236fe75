"""The optional accelerator: compiled twins of the functions in which the search spends its time.

A function marked `accelerated` is plain numpy and says what holds. With numba installed (the extra
`fast`) a twin of the same name, in this package, may take its place: the same arguments, and the
same answer to the last bit, so that it never matters which of the two ran. Costs beyond int64 always
stay with numpy.

Importing numba takes half a second, and compiling for the first time on a machine some seconds. So
the twins are loaded only once the numpy functions have worked that long in this process: for a small
problem never, for long lists or after many solves soon. The environment variable `BITWRIGHT_NUMBA`
overrules that: with `1` the twins are there from the start, with `0` never.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

from bitwright.problems.errors import InputError, MissingDependencyError, missing_dependency

LOADED_AFTER = 1.0
"""Seconds of work in numpy after which loading the twins is worth it, about what loading takes."""

COMPILED_AFTER = 8.0
"""The same where the twins must be compiled first, as numba's cache beside this file holds none."""

_VARIABLE = "BITWRIGHT_NUMBA"

P = ParamSpec("P")
R = TypeVar("R")


class Accelerator:
    """Which twins are in use in this process, and for how long numpy has worked without them."""

    def __init__(self) -> None:
        self._twins: dict[str, Callable[..., Any]] = {}
        self._seconds = self._counted_until = 0.0
        self._pays_after: float | None = None

    def twin(self, name: str) -> Callable[..., Any] | None:
        """The compiled twin of a function where twins are in use."""
        if self._pays_after is None:
            self._read_environment()
        return self._twins.get(name)

    def worked_since(self, started: float) -> None:
        """Count the work of numpy, that of nested functions once, and load the twins if it pays."""
        now = perf_counter()
        self._seconds += now - max(started, self._counted_until)
        self._counted_until = now
        if self._pays_after is None or self._seconds < self._pays_after:
            return
        cached = any(Path(__file__).parent.glob("__pycache__/*.nbi"))
        if not cached and self._seconds < COMPILED_AFTER:
            self._pays_after = COMPILED_AFTER
        else:
            with suppress(MissingDependencyError):
                self.use(twins=True)

    def use(self, twins: bool) -> None:
        """Use the twins from now on, or never; raises `MissingDependencyError` without numba."""
        self._pays_after, self._twins = math.inf, {}
        if twins:
            try:
                from bitwright.search.kernels.twins import TWINS
            except ImportError as error:
                raise missing_dependency(f"{_VARIABLE}=1", "numba") from error
            self._twins = TWINS

    def _read_environment(self) -> None:
        wanted = os.environ.get(_VARIABLE, "")
        if wanted not in ("", "0", "1"):
            raise InputError(f"{_VARIABLE} must be 0, 1 or empty, got {wanted!r}")
        if wanted:
            self.use(twins=wanted == "1")
        else:
            self._pays_after = LOADED_AFTER


accelerator = Accelerator()


def accelerated(*exact: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let the compiled twin of the same name take the place of a numpy function where it may.

    `exact` are the positions of the arguments, arrays or tuples of arrays, that may hold Python
    integers, which no twin takes.
    """

    def either_of(function: Callable[P, R]) -> Callable[P, R]:
        name = function.__name__

        @wraps(function)
        def either(*args: P.args, **kwargs: P.kwargs) -> R:
            twin = accelerator.twin(name)
            if twin is not None and not any(_beyond_int64(args[i]) for i in exact):
                result: R = twin(*args, **kwargs)
                return result
            started = perf_counter()
            result = function(*args, **kwargs)
            accelerator.worked_since(started)
            return result

        return either

    return either_of


def _beyond_int64(argument: Any) -> bool:
    for array in argument if isinstance(argument, tuple) else (argument,):
        if array.dtype.hasobject:
            return True
    return False
