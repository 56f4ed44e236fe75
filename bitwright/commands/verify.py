"""Measure chosen configurations of a run on the real network, after PTQ and after QAT.

Takes the solutions of the run and points of its front, or those of files, with uniform baselines
beside them. Quality is measured on the test split, losses on the score split. Writes RUN/verified.json
and the pictures RUN/verified.png and .svg. What was measured before is not measured again, so that
an interrupted command goes on where it was.
Exit status: 0 done, 2 bad usage or input, or a measurement that failed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bitwright.commands.shared import (
    add_plot_argument,
    answer,
    at_least_one,
    check_plot,
    draw,
    seed,
)
from bitwright.problems.errors import InputError

EXAMPLES = """examples:
  bitwright verify runs/digits
  bitwright verify runs/digits --points 8 --seeds 0,1,2 --jobs 4 --plot verified.pdf
  bitwright verify runs/digits --solution mine.json --solution other.json --no-qat --json
  bitwright front runs/digits/problem.json --cost bitops --points 6 --json > front.json
  bitwright verify runs/digits --front front.json --backend dask --scheduler tcp://10.0.0.1:8786
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, such as runs/digits")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--front", type=Path, metavar="FILE",
        help="front whose points with bits are measured, instead of the run's",
    )  # fmt: skip
    source.add_argument(
        "--solution", type=Path, action="append", default=[], metavar="FILE",
        help="solution to measure, instead of the run's; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--points", type=at_least_one, metavar="K",
        help="K points spread over the front (default: as many as the run's configuration says; all "
             "of --front FILE)",
    )  # fmt: skip
    parser.add_argument(
        "--uniform", nargs="*", action="extend", metavar="wXaY",
        help="uniform configurations to set beside, none after a bare --uniform (default: the run's)",
    )  # fmt: skip
    parser.add_argument(
        "--qat", action=argparse.BooleanOptionalAction, default=None,
        help="whether to train, by the recipe verify.qat of the run (default: if it has one)",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=_seeds, metavar="S,S,...", help="seeds of QAT (default: the run's)"
    )
    parser.add_argument(
        "--keep-weights", action=argparse.BooleanOptionalAction, default=None,
        help="whether to keep the trained networks in the run folder (default: as the run says)",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=at_least_one, metavar="N",
        help="measurements at a time; the figures are the same (default: the run's verify.jobs)",
    )  # fmt: skip
    parser.add_argument(
        "--backend", default=None, metavar="NAME",
        help="loky: processes of this machine (default); dask: a cluster",
    )  # fmt: skip
    parser.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="dask scheduler whose workers measure; they need the run folder, and the data, at the "
             "same paths (default with --backend dask: N worker processes here)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print verified.json")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    add_plot_argument(parser, "what was verified")


def _seeds(text: str) -> list[int]:
    return [seed(part.strip()) for part in text.split(",")]


def run(options: argparse.Namespace) -> int:
    """Measure, write, draw, and print a table."""
    check_plot(options.plot)
    from bitwright.pipeline.summary import verified_text
    from bitwright.pipeline.verifying import VERIFIED, verify_run
    from bitwright.plots import draw_verified
    from bitwright.problems.formats import read_verified

    work, picks, workers = _asked(options)
    verify_run(work, picks, workers)
    verified = read_verified(options.run / VERIFIED)
    if options.plot:
        draw(options, draw_verified(verified, work.config.name))
    if options.json:
        answer((options.run / VERIFIED).read_text(encoding="utf-8"))
    else:
        answer(verified_text(verified))
    return 0


def _asked(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The run with its settings changed as asked, what to measure, and where."""
    from bitwright.pipeline.points import Picks
    from bitwright.pipeline.work import open_run
    from bitwright.pipeline.workers import Workers
    from bitwright.progress import Reporter

    of_run = options.front is None and not options.solution
    if options.points is not None and options.solution:
        raise InputError("--points is for a front, and cannot be given with --solution")
    work = open_run(
        options.run,
        Reporter(options.quiet),
        uniform=options.uniform,
        seeds=options.seeds,
        keep_weights=options.keep_weights,
        jobs=options.jobs,
        front_points=options.points if of_run else None,
    )
    if options.qat and work.config.verify.qat is None:
        raise InputError(f"{options.run}/config.yaml has no recipe verify.qat to train by")
    if options.qat is False:
        verify = work.config.verify.model_copy(update={"qat": None})
        work.config = work.config.model_copy(update={"verify": verify})
    backend = options.backend or ("dask" if options.scheduler else "loky")
    picks = Picks(options.front, tuple(options.solution), options.points)
    return work, picks, Workers(work.config.verify.jobs, backend, options.scheduler)
