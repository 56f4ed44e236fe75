"""bitwright decides how many bits each part of a network gets, and proves and verifies the answer.

    import bitwright

    solution = bitwright.solve("configs/resnet18_t4.json", budgets={"latency_ms": "50%"})
    front = bitwright.front("configs/resnet18_t4.json", costs=["size_bits"])

Importing the package loads neither torch nor any solver: what a name needs is loaded at first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitwright.api import apply as apply
    from bitwright.api import compare as compare
    from bitwright.api import front as front
    from bitwright.api import read_problem as read_problem
    from bitwright.api import solve as solve
    from bitwright.problems import AllocationProblem as AllocationProblem
    from bitwright.problems import BitConfiguration as BitConfiguration
    from bitwright.problems import BitwrightError as BitwrightError
    from bitwright.problems import Choice as Choice
    from bitwright.problems import InputError as InputError
    from bitwright.problems import LayerChoices as LayerChoices
    from bitwright.problems import ParetoFront as ParetoFront
    from bitwright.problems import Precision as Precision
    from bitwright.problems import Solution as Solution
    from bitwright.problems import Status as Status
    from bitwright.problems.version import __version__ as __version__

_HOME = {
    "__version__": "bitwright.problems.version",
    **dict.fromkeys(("apply", "compare", "front", "read_problem", "solve"), "bitwright.api"),
    **dict.fromkeys(
        ("AllocationProblem", "BitConfiguration", "BitwrightError", "Choice", "InputError", "LayerChoices", "ParetoFront", "Precision",
         "Solution", "Status"),
        "bitwright.problems",
    ),
}  # fmt: skip

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'bitwright' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
