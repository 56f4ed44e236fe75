"""Carry out a complete run: train, score, solve, verify with QAT, and draw.

A run that was interrupted goes on where it was; stages whose settings are unchanged are kept.
Exit status: 0 done, 2 bad usage or input, 3 done but a set of budgets was infeasible, 4 done but a
solver stopped without an answer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bitwright.commands.shared import EXIT_STATUS, answer
from bitwright.problems.formats import read_solution

EXAMPLES = """examples:
  bitwright run configs/digits.yaml
  bitwright run configs/digits.yaml --show-config
  BITWRIGHT_DATA=~/data bitwright run configs/tiny_vehicles.yaml --seed 1 --name vehicles-1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("config", help="run configuration (YAML)")
    parser.add_argument("--seed", type=int, help="seed instead of the configuration's")
    parser.add_argument(
        "--name", help="name of the run, and of its folder, instead of the configuration's"
    )
    parser.add_argument(
        "--device", metavar="NAME|FILE",
        help="device instead of the configuration's: only what it can store is offered",
    )  # fmt: skip
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="where run folders are (default runs)",
    )
    parser.add_argument(
        "--show-config",
        action="store_true",
        help="print the configuration with every default, and stop",
    )
    parser.add_argument("--json", action="store_true", help="print what was verified as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def run(options: argparse.Namespace) -> int:
    """Carry out the run and print its summary."""
    from bitwright.cost_models.devices import is_device_path
    from bitwright.run_config import read_run_config

    device = options.device
    if device is not None and is_device_path(device):
        device = Path(device).resolve()  # from where the user stands, not from the configuration
    config = read_run_config(options.config, seed=options.seed, name=options.name, device=device)
    if options.show_config:
        import yaml

        answer(yaml.safe_dump(config.document(), sort_keys=False, allow_unicode=True))
        return 0
    from bitwright.pipeline.stages import carry_out
    from bitwright.pipeline.summary import summary_text
    from bitwright.progress import Reporter

    folder = carry_out(config, options.runs, Reporter(options.quiet))
    if options.json:
        answer((folder / "verified.json").read_text(encoding="utf-8"))
    else:
        answer(summary_text(folder))
    found = [read_solution(folder / f"solutions/{name}.json").status for name in config.solutions]
    return max((EXIT_STATUS[status] for status in found), default=0)
