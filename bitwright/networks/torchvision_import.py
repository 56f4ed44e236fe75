"""Importing torchvision, also where its compiled operators do not fit the installed torch.

torchvision's wheels on PyPI are built for a torch with CUDA. Beside a CPU build of torch their
operators do not load, and `import torchvision` fails while it describes them. Its models need none of
them but non-maximum suppression, which is then defined here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from bitwright.problems.errors import missing_dependency

_OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@cache
def import_torchvision() -> Any:
    """Return torchvision; raises `MissingDependencyError` where it is not installed."""
    try:
        import torchvision
    except ModuleNotFoundError as error:
        raise missing_dependency("torchvision's models", "torchvision") from error
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        return _without_operators()
    return torchvision


def _without_operators() -> Any:
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name, signature in _OPERATORS.items():
        library.define(f"{name}{signature}")
    library.impl("nms", nms, "CompositeExplicitAutograd")
    _kept.append(library)  # the operators live as long as it does

    import torchvision
    from torchvision.ops import boxes

    boxes._assert_has_ops = lambda: None
    return torchvision


_kept: list[Any] = []


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes kept by non-maximum suppression, by falling score.

    `boxes` (N, 4) are corners x1, y1, x2, y2; `scores` (N,). A box goes that overlaps one kept
    before it by more than `iou_threshold`.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, kept = boxes[order], []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        kept.append(i)
        low = torch.maximum(boxes[i, :2], boxes[i + 1 :, :2])
        high = torch.minimum(boxes[i, 2:], boxes[i + 1 :, 2:])
        common = (high - low).clamp(min=0).prod(dim=1)
        alive[i + 1 :] &= common <= iou_threshold * (areas[i] + areas[i + 1 :] - common)
    return order[torch.tensor(kept, dtype=torch.int64, device=boxes.device)]
