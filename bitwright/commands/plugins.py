"""List the solvers, cost models, significance measures, tasks and devices that are installed."""

from __future__ import annotations

import argparse
from typing import get_args

from bitwright import plugins
from bitwright.commands.shared import answer
from bitwright.cost_models.devices import known_devices, load_device
from bitwright.problems.formats import dump_json
from bitwright.text import text_table

EXAMPLES = """examples:
  bitwright plugins
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(options: argparse.Namespace) -> int:
    """Print what is registered; nothing is imported, so a broken plug-in is listed too.

    Devices are data: in JSON, those of bitwright stand among the plug-ins with their file as object.
    """
    found = [
        (kind, name, point.value, point.dist.name if point.dist else "")
        for kind in get_args(plugins.Kind)
        for name, points in plugins.known(kind).items()
        for point in points
    ]
    devices = [(name, load_device(name).title) for name in known_devices()]
    if options.json:
        keys = ("kind", "name", "object", "package")
        rows = found + [("devices", name, f"{name}.yaml", "bitwright") for name, _ in devices]
        answer(dump_json([dict(zip(keys, row, strict=True)) for row in rows]))
    else:
        answer(text_table(["kind", "name", "object", "package"], found))
        answer("")
        answer("\n".join(["devices (--device):", *(f"  {n:24}{title}" for n, title in devices)]))
    return 0
