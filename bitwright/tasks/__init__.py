"""What is compressed and how it is judged: a model with its data, its loss and its metrics.

To write a task, fulfil `bitwright.problems.protocols.Task` and register the class under the entry
point `bitwright.tasks`; the annotated keyword arguments of its constructor become the options of a
run configuration. For images that fit into memory, derive from `ClassificationTask`: decode to
uint8, divide with `draw_split` and `divide`, and return a network from `build_model`; `Digits` is
the shortest example. The names here are imported on first use, since most of them need torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitwright.tasks.classification import ClassificationEvaluator as ClassificationEvaluator
    from bitwright.tasks.classification import ClassificationTask as ClassificationTask
    from bitwright.tasks.classification import LabelledImages as LabelledImages
    from bitwright.tasks.digits import Digits as Digits
    from bitwright.tasks.image_folder import ImageFolder as ImageFolder
    from bitwright.tasks.models import CompactResNet as CompactResNet
    from bitwright.tasks.splitting import divide as divide
    from bitwright.tasks.splitting import draw_split as draw_split

_HOMES = {
    "ClassificationEvaluator": "classification",
    "ClassificationTask": "classification",
    "CompactResNet": "models",
    "Digits": "digits",
    "ImageFolder": "image_folder",
    "LabelledImages": "classification",
    "divide": "splitting",
    "draw_split": "splitting",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605 - one list of names, not two


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
