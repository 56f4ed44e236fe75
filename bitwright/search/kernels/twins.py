"""All compiled twins by name; importing this imports numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bitwright.search.kernels.figures import added, compensated
from bitwright.search.kernels.lists import advanced, followed, gathered, joined, paired
from bitwright.search.kernels.relaxation import relaxed

TWINS: dict[str, Callable[..., Any]] = {
    "relaxed": relaxed,
    "gathered": gathered,
    "joined": joined,
    "paired": paired,
    "advanced": advanced,
    "followed": followed,
    "compensated": compensated,
    "added": added,
}
