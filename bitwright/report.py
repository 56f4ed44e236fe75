"""The report of a run: one HTML page with everything inside, readable without a network."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bitwright.pipeline.costing import read_costs
from bitwright.problems.formats import read_verified
from bitwright.problems.version import __version__
from bitwright.text import counted, figure

_PICTURES = ("pareto", "verified", "significance", "confusion", "costs")


def report_html(run: Path) -> str:
    """Render the report from the files of a run folder; every name in it is escaped."""
    environment = Environment(
        loader=PackageLoader("bitwright", ""), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["figure"] = _figure
    environment.filters["counted"] = counted
    template = environment.get_template("report.html.jinja")
    solutions = [
        _json(path) | {"name": path.stem} for path in sorted((run / "solutions").glob("*.json"))
    ]
    return template.render(
        name=run.name,
        critical=_json(run / "critical.json"),
        network=_json(run / "network.json"),
        solutions=solutions,
        verified=read_verified(run / "verified.json"),
        pictures={name: _picture(run / f"{name}.svg") for name in _PICTURES},
        cost_notes={name: cost["notes"] for name, cost in read_costs(run).items()},
        version=__version__,
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _picture(path: Path) -> str:
    """A picture as a data address: inside an image element nothing in it can run; empty if there is none."""
    if not path.is_file():
        return ""
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()


def _figure(value: float | None) -> str:
    return "–" if value is None else figure(value)
