"""What tests of pictures share: names that are hard to draw, a front, and the check of a file."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
from PIL import Image

from bitwright.plots import save
from bitwright.problems import ParetoFront

ODD = [
    "$\\frac{a$",
    "a_b^c",
    "<script>alert('x')</script>",
    "😀 & --> é 漢",
    "x\n\x01\ud800y",
    "long" * 500,
]


def front(
    points: int, costs: tuple[str, ...] = ("size_bits",), name: str = "problem"
) -> ParetoFront:
    """A front of that many points; the second cost falls with the loss that rises."""
    rising = np.arange(points)
    values = np.stack([rising, *([rising[::-1]] * (len(costs) - 1))], axis=1)
    return ParetoFront(name, "front", costs, values, 1.0 / (1.0 + rising), exact=True, epsilon=0.0)


def check_written(figure, folder) -> None:
    """Both files are whole, parse, and come out the same a second time."""
    paths = [folder / "x.png", folder / "x.svg"]
    for path in paths:
        save(figure, path)
    first = [path.read_bytes() for path in paths]
    with Image.open(paths[0]) as image:
        image.load()
    drawn = ElementTree.fromstring(first[1])
    assert not [e for e in drawn.iter() if e.tag.endswith("script")]
    for path in paths:
        save(figure, path)
    assert [path.read_bytes() for path in paths] == first
    assert sorted(folder.iterdir()) == paths  # no temporary file is left
