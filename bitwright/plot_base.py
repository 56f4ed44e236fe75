"""What all pictures share: colours, labels, scales, and writing a figure into a file.

Colours are those of Okabe and Ito (2008) and viridis, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats.atomic import write_atomic_with

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
MOST_LABELS = 60

_FORMATS = (".png", ".svg", ".pdf")
_LONGEST_LABEL = 60
_UNITS = {
    "bits": "bits", "bytes": "bytes", "ns": "ns", "us": "µs", "ms": "ms", "s": "s",
    "nj": "nJ", "uj": "µJ", "mj": "mJ", "j": "J",
}  # fmt: skip
_PLAIN_BELOW = 1e4
_DECADE = 10.0
_DIGITS = 6


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure, atomically; raises `InputError` for an unknown ending.

    The same figure gives the same bytes: SVG names are salted with a fixed word, no date is kept.
    """
    suffix = suffix_of(path)
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {"Software": None}}[
        suffix
    ]
    with (
        mpl.rc_context({"svg.hashsalt": "bitwright", "svg.fonttype": "path"}),
        warnings.catch_warnings(),
    ):
        # A name may hold what the font lacks, such as an emoji; it is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph")
        lay_out(figure)
        write_atomic_with(
            path,
            lambda stream: figure.savefig(stream, format=suffix[1:], dpi=150, metadata=metadata),
        )


def lay_out(figure: Figure) -> None:
    """Give the axes of a constrained layout their places for good, to six digits.

    Laid out again at every save they would creep, and their last digits depend on where objects lie
    in memory: the layout's equations are solved in the order of sets.
    """
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for axes in figure.axes:
            rounded = axes.get_position(original=True).get_points().round(_DIGITS)
            axes.set_position(Bbox(rounded))


def suffix_of(path: str | Path) -> str:
    """The ending of a plot file; raises `InputError` for one that is not drawn."""
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(
            f"{path}: a plot file ends in one of {', '.join(_FORMATS)}; {nearest(suffix, _FORMATS)}"
        )
    return suffix


def label(name: str, longest: int = _LONGEST_LABEL) -> str:
    """A name as it is drawn: on one line, without what an SVG cannot hold, not without end."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def cost_label(cost: str) -> str:
    """A cost's name with its unit in brackets.

    >>> cost_label("peak_activation_bytes"), cost_label("latency_us"), cost_label("bitops")
    ('peak activation (bytes)', 'latency (µs)', 'bitops')
    """
    name, _, unit = cost.rpartition("_")
    known = name and unit in _UNITS
    return label(f"{name.replace('_', ' ')} ({_UNITS[unit]})" if known else cost)


def scale_cost(axes: Axes, which: Literal["x", "y"], values: NDArray[np.float64]) -> None:
    """Make the axis of a cost logarithmic where it spans more than a decade; write 20 k and 3 M."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    least, largest = float(values.min(initial=np.inf)), float(values.max(initial=0.0))
    if 0 < _DECADE * least < largest:
        axes.set(**{f"{which}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_formatter(NullFormatter())
    if largest >= _PLAIN_BELOW or axes.get_xscale() == "log":
        axis.set_major_formatter(EngFormatter())
