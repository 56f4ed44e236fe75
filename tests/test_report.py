"""The HTML report: one page that holds everything, with every name as text."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bitwright.pipeline.summary import summary_text
from bitwright.problems import BitConfiguration, Precision
from bitwright.problems.formats import write_verified
from bitwright.problems.verified import TrainedQuality
from bitwright.report import report_html

from .problems.verified import point, quality, verified

ODD = "<script>alert(1)</script> & \"'😀 {{ 7*7 }} {% x"
VOID = {"meta", "img", "link", "br", "hr", "input"}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "background"}


class Page(HTMLParser):
    """Reads a page strictly: elements must close in order; keeps texts, tags and what would be loaded."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in LOADING]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def run(tmp_path) -> Path:
    """The files of a run in which every name is odd and every figure that may be missing is."""
    folder = tmp_path / "run"
    (folder / "solutions").mkdir(parents=True)
    solution = {"status": "optimal", "loss": 0.125, "gap": 0.0, "budgets": {ODD: 10}, "costs": {ODD: 1234567}, "explanation": None}  # fmt: skip
    nothing = solution | {
        "status": "infeasible",
        "loss": None,
        "gap": None,
        "costs": {},
        "explanation": ODD,
    }
    base = quality(0.5, critical=None, metric=ODD, classes=(ODD,))
    same = {
        "configuration": BitConfiguration({ODD: Precision(4, 8, "svd-32")}),
        "costs": {ODD: 1234567},
        "measured_loss": {"critical": None, "overall": None},
        "dominated": True,
        "weights": (),
    }
    trained = TrainedQuality.over((replace(base, metrics={ODD: 0.75, "f1": 0.25}),))
    plain = replace(point(ODD, qat=(), **same), ptq=base)
    points = [plain, replace(plain, name=f"{ODD} 2", qat=trained)]
    documents = {
        "critical": {"sentence": f"critical classes: Car, {ODD}"},
        "network": {"name": ODD, "layers": [{"name": ODD}], "totals": {"parameters": 7, "macs": 8}},
        "solutions/small": solution,
        "solutions/none": nothing,
    }  # fmt: skip
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    what = {"main_metric": ODD, "cost": ODD, "float_quality": base, "critical_classes": (ODD,)}
    write_verified(verified(points, seeds=(0,), **what), folder / "verified.json")
    costs = {ODD: {"notes": [f"device: {ODD}"], "fixed": 0, "layers": {}}}
    (folder / "costs.json").write_text(json.dumps({"costs": costs}))
    for name in ("pareto", "verified", "significance", "confusion", "costs"):
        (folder / f"{name}.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return folder


def test_names_stay_text_and_nothing_is_loaded(run):
    """The page is well formed, loads only pictures that it holds itself, and runs no script."""
    html = report_html(run)
    page = Page(html)
    assert "script" not in page.tags
    assert page.text.count(ODD) >= 10
    assert len(page.loads) == 5
    assert f"{ODD}: device: {ODD}" in page.text
    for address in page.loads:
        kind, picture = address.split(",")
        assert kind == "data:image/svg+xml;base64"
        ElementTree.fromstring(base64.b64decode(picture))
    assert not re.search(r"https?://|//[a-z]|url\(|@import", re.sub(r"base64,[\w+/=]+", "", html))


def test_a_run_without_costs_of_layers_has_a_report(run):
    """Where no layer has a cost, as with a peak alone, the picture is left out and nothing else."""
    (run / "costs.svg").unlink()
    assert len(Page(report_html(run)).loads) == 4


def test_what_layers_run_as_is_counted(run):
    """A solution of a run on a device says so in the report and in the summary, as text."""
    path = run / "solutions/small.json"
    placed = {"device": ODD, "runs_as": {"a": "int8", "b": ODD, "c": "int8"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | placed))
    expected = f"small: layers that run on {ODD}: 2 as int8, 1 as {ODD}"
    page = Page(report_html(run))
    assert "script" not in page.tags
    assert expected in page.text
    assert expected in summary_text(run)


def test_figures_are_shown(run):
    """Figures appear as they are, missing ones as a dash, class names with their capitals."""
    page = Page(report_html(run))
    assert f"Critical classes: Car, {ODD}." in page.text
    for shown in ("1,234,567", "0.125", "w4a8-svd-32", "dominated", "infeasible", "–", "0.75"):
        assert shown in page.text
    assert "None" not in page.text
    assert "nan" not in page.text.lower().replace("explanation", "")


def test_the_summary_takes_the_same_names_and_gaps(run):
    """The summary for the terminal is made of the same files."""
    text = summary_text(run)
    assert f"Critical classes: Car, {ODD}." in text
    assert f"none: {ODD}" in text
    assert "1,234,567" in text
    assert "None" not in text
