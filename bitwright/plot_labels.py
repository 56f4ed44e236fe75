"""Names beside points of a picture, where none covers another, a marker, or the edge."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitwright.plot_base import GREY, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = 7.0
_WIDTH_OF_LETTER, _HEIGHT_OF_LINE = 0.62, 1.25
_MARKER = 4.0
_POINTS_PER_INCH = 72.0
_LONGEST = 28
_NEAR = 12.0
_DISTANCES = (8.0, 14.0, 22.0, 32.0, 44.0)
_DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))

Box = tuple[float, float, float, float]


def name_points(
    axis: Axes,
    names: Sequence[str],
    places: NDArray[np.float64],
    obstacles: NDArray[np.float64],
) -> list[str]:
    """Write every name beside its place and return the names for which there was room.

    `places`, shape (N, 2), and `obstacles` (markers that are to be seen), shape (M, 2), are in data
    units. The figure must have been laid out and the axis have its final limits. Names come in the
    order of their importance: one for which there is no room is left out. One that stands farther
    off has a line to its place.
    """
    figure = axis.get_figure(root=True)
    assert figure is not None
    unit = figure.dpi / _POINTS_PER_INCH
    window = axis.get_window_extent()
    edges = tuple(v / unit for v in (window.x0, window.y0, window.x1, window.y1))
    centres = axis.transData.transform(np.reshape(places, (-1, 2))) / unit
    marked = axis.transData.transform(np.reshape(obstacles, (-1, 2))) / unit
    taken = [(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER) for x, y in marked.tolist()]
    written = []
    for name, place, (x, y) in zip(names, np.reshape(places, (-1, 2)), centres, strict=True):
        text = label(name, _LONGEST)
        found = _free_spot(float(x), float(y), text, edges, taken)
        if found is None:
            continue
        box, distance = found
        taken.append(box)
        written.append(name)
        axis.annotate(
            text, tuple(place), fontsize=_SIZE, ha="center", va="center", parse_math=False,
            xytext=((box[0] + box[2]) / 2 - x, (box[1] + box[3]) / 2 - y), textcoords="offset points",
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkB": 3}
            if distance > _NEAR else None,
        )  # fmt: skip
    return written


def _free_spot(
    x: float, y: float, text: str, edges: Sequence[float], taken: Sequence[Box]
) -> tuple[Box, float] | None:
    """The nearest box for the text that covers nothing, in points, and its distance."""
    width = len(text) * _SIZE * _WIDTH_OF_LETTER
    height = _SIZE * _HEIGHT_OF_LINE
    for distance, (right, up) in itertools.product(_DISTANCES, _DIRECTIONS):
        centre_x = x + right * (distance + width / 2 - height / 2)
        centre_y = y + up * distance
        box = (
            centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2
        )  # fmt: skip
        inside = box[0] > edges[0] and box[1] > edges[1] and box[2] < edges[2] and box[3] < edges[3]
        if inside and not any(_overlap(box, other) for other in taken):
            return box, distance
    return None


def _overlap(one: Box, other: Box) -> bool:
    return (
        one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    )  # fmt: skip
