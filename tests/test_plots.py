"""Pictures: any name and any size is drawn, quietly, and the same figure gives the same bytes."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from bitwright.plots import MeasuredPoint, draw_confusion, draw_front, draw_significance, save
from bitwright.problems import InputError, ParetoFront, Precision, SignificanceTable

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


def table(components, *, columns: int = 3) -> SignificanceTable:
    """A table with a NaN and a negative cell."""
    scores = np.random.default_rng(0).normal(size=(len(components), columns))
    scores[0, 0] = np.nan
    return SignificanceTable(
        "overall", tuple(components), tuple(Precision(b + 1, 8) for b in range(columns)), scores
    )


def measured(names) -> list[MeasuredPoint]:
    """One measured point per name, all kinds among them."""
    return [
        MeasuredPoint(
            name,
            i,
            float("nan") if i == 1 else 0.1 * i,
            0.5,
            None if i % 2 else 0.6,
            i == 2,
            i % 3 == 0,
        )
        for i, name in enumerate(names)
    ]


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


@pytest.mark.parametrize("points", [0, 1, 2, 100_000])
def test_fronts_of_any_size(tmp_path, points):
    """No point, one and a hundred thousand are drawn."""
    check_written(draw_front(front(points)), tmp_path)


@pytest.mark.parametrize("points", [0, 1, 500])
def test_fronts_of_two_costs(tmp_path, points):
    """A second cost is drawn as colour, with its name on the bar."""
    figure = draw_front(front(points, ("size_bits", "a$b_c$")))
    assert [axis.get_ylabel() for axis in figure.axes][1] == "a$b_c$"
    check_written(figure, tmp_path)


def test_odd_names_in_a_front(tmp_path):
    """Problem, cost, metric and points may bear any name; none of it is mathematics or markup."""
    for name in ("".join(ODD[:-1]), ODD[-1]):
        check_written(draw_front(front(3, (name,), name), measured(ODD), quality=name), tmp_path)


def test_two_builds_of_a_figure_are_equal(tmp_path):
    """The bytes do not depend on the figure object."""
    for name in ("a", "b"):
        save(draw_front(front(5), measured("abcd"), "accuracy"), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "a.svg").read_bytes()


@pytest.mark.parametrize("components", [["conv"], ODD, [f"layer{i}" for i in range(1000)]])
def test_significance_maps_of_any_size(tmp_path, components):
    """One component, odd names and a thousand components are drawn, missing cells left white."""
    check_written(
        draw_significance({"semantic": table(components), ODD[0]: table(components)}), tmp_path
    )


@pytest.mark.parametrize("fill", [np.nan, 0.0, -1.0])
def test_significance_maps_of_one_value(tmp_path, fill):
    """Nothing measured, all zero and all negative leave a colour scale that can be drawn."""
    flat = SignificanceTable("overall", ("a", "b"), (Precision(4, 8),), np.full((2, 1), fill))
    check_written(draw_significance({"overall": flat}), tmp_path)


@pytest.mark.parametrize("background", [0, 1])
def test_confusion_with_and_without_background(tmp_path, background):
    """Counts, also of classes that never occur, with odd names and framed pairs."""
    counts = np.zeros((len(ODD) + background,) * 2, dtype=np.int64)
    counts[0, :2] = 5
    figure = draw_confusion(counts, ODD, [(ODD[0], ODD[1], 0.5)])
    assert len(figure.axes[0].patches) == 2  # the pair is framed both ways
    check_written(figure, tmp_path)


def test_pdf_is_written(tmp_path):
    """PDF is the third ending, in capitals too."""
    save(draw_front(front(2)), tmp_path / "x.PDF")
    assert (tmp_path / "x.PDF").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.gif", r"x\.gif: a plot file ends in one of \.png, \.svg, \.pdf; known"),
        ("x.svgz", r"did you mean '\.svg'"),
        ("x", "a plot file ends in"),
        ("file/x.svg", "cannot be written: (Not a directory|File exists)"),
        ("folder.svg", "cannot be written: Is a directory"),
    ],
)
def test_where_no_plot_can_be_written(tmp_path, name, message):
    """An unknown ending and a place that cannot be written are one line with the path."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(InputError, match=message):
        save(draw_front(front(1)), tmp_path / name)
