"""What kinds of operations do to values: those that hand values on, and those that bring tensors together."""

from __future__ import annotations

from typing import Any

ADDITIONS = frozenset({"add", "iadd", "radd", "sub", "isub", "rsub"})
CONCATENATIONS = frozenset(
    {"cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack"}
)

_VIEWS = {
    *("view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "ravel", "squeeze"),
    *("unsqueeze", "expand", "expand_as", "permute", "transpose", "swapaxes", "movedim", "T", "mT"),
    *("contiguous", "clone", "detach", "getitem", "chunk", "split", "unbind", "narrow", "select"),
    *("index_select", "roll", "flip", "repeat", "tile", "Flatten", "Unflatten"),
    *("pad", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d"),
}
_LAYOUTS = {
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
    *("PixelShuffle", "PixelUnshuffle", "ChannelShuffle"),
}
_SELECTIONS = {
    *(f"max_pool{n}d" for n in (1, 2, 3)),
    *(f"MaxPool{n}d" for n in (1, 2, 3)),
    *(f"adaptive_max_pool{n}d" for n in (1, 2, 3)),
    *(f"AdaptiveMaxPool{n}d" for n in (1, 2, 3)),
    *("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices"),
}
_CLIPPINGS = {"relu", "ReLU", "relu6", "ReLU6", "hardtanh", "Hardtanh", "clamp", "clip"}
_SAME_GRID = frozenset(_VIEWS | _LAYOUTS | _SELECTIONS | _CLIPPINGS)
_RESIZES = {"interpolate", "upsample", "Upsample", "UpsamplingNearest2d"}


def keeps_grid(kind: str, mode: Any = None) -> bool:
    """Whether the output's values are those of the input, or zero, or clipped to a range.

    Such an operation needs no grid of its own. `mode` is that of a change of size, where only the
    nearest neighbour invents no values.
    """
    if kind in _RESIZES:
        return mode is None or str(mode).startswith("nearest")
    return kind in _SAME_GRID
