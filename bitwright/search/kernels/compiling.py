"""How the twins are compiled.

What a twin does, and its source, stands with the numpy function of its name. Twins that call each
other stand in one file, because numba's cache notices a change of a function's own file and of no
other. Inner loops are mostly functions of their own: where arrays are exchanged within a loop, numba
is slow at them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba  # type: ignore[import-not-found, unused-ignore]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile on the first call, or load what an earlier process compiled."""
    return cast("F", numba.njit(cache=True)(function))
