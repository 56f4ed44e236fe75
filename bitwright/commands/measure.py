"""Measure what layers and whole networks cost on this machine, and write a table of costs.

SOURCE is a run configuration (.yaml), torchvision:NAME (random weights) or module.path:function,
which returns a model; or a run folder, whose solutions are then exported and measured as they are.
With --read the table is made of profiles that other tools recorded, and nothing is run. A measurement
that is killed goes on where it was. Exit status: 0 done, 2 bad usage or input.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bitwright.commands.measure_reading import add_reading_arguments, run_reading
from bitwright.commands.shared import (
    add_input_argument,
    add_plot_argument,
    answer,
    at_least_one,
    check_plot,
    draw,
    say,
    seed,
)
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.precision import Precision

EXAMPLES = """examples:
  bitwright measure torchvision:resnet18 --out resnet18_x86.csv --plot resnet18_x86.png
  bitwright measure configs/digits.yaml --by layer --out digits_x86.csv
  bitwright measure torchvision:mobilenet_v2 --input 1,3,160,160 --runtime openvino --out table.csv
  bitwright measure my_package.models:detector --no-networks --precisions w8a8 --out table.csv
  bitwright measure runs/digits --point small --point "uniform w8a8"
  bitwright measure torchvision:resnet18 --read w8a8=trtexec_int8.json --out resnet18_trt.csv
"""
_BY = ("operation", "layer")
_FEWEST = 3
_TABLE_ONLY = ("out", "precisions", "input", "batch", "plot")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "source", metavar="SOURCE",
        help="run configuration, torchvision:NAME or module.path:function; or a run folder",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="TABLE", help="table of costs to write (.csv)")
    parser.add_argument(
        "--by", metavar="WHAT",
        help="rows by operation, for any network that has it (default of what is measured), or by "
             "layer of this one (default of what is read)",
    )  # fmt: skip
    parser.add_argument(
        "--precisions", nargs="+", action="extend", metavar="PRECISION",
        help="what to measure (default: what the runtime has types for: w32a32 and w8a8)",
    )  # fmt: skip
    add_input_argument(parser)
    parser.add_argument("--batch", type=at_least_one, metavar="N", help="batch of every input")
    _add_timing_arguments(parser)
    parser.add_argument(
        "--calibration", type=at_least_one, default=8, metavar="N",
        help="mixed networks to fit factors and costs of changes to (default 8)",
    )  # fmt: skip
    parser.add_argument(
        "--validation", type=at_least_one, default=12, metavar="N",
        help="other mixed networks to compare predictions with (default 12)",
    )  # fmt: skip
    parser.add_argument(
        "--no-networks", action="store_true", help="measure layers only, no whole networks"
    )
    _add_run_folder_arguments(parser)
    add_plot_argument(parser, "predicted against measured times of whole networks")
    add_reading_arguments(parser)
    parser.add_argument("--seed", type=seed, default=0, help="of orders and mixtures (default 0)")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--quiet", action="store_true", help="no messages on stderr")


def _add_timing_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime", default="onnxruntime", metavar="NAME",
        help="onnxruntime (default), openvino, or one of yours; `bitwright plugins` lists the names",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=at_least_one, default=1, metavar="N",
        help="threads to run in, kept on as many processors (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--repeats", type=at_least_one, default=40, metavar="N",
        help="turns of a few milliseconds that everything gets; the least counts (default 40)",
    )  # fmt: skip


def _add_run_folder_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--point", action="append", default=[], metavar="K",
        help="with a run folder: a point as `bitwright export` takes it; may be given several times "
             "(default: all solutions of the run)",
    )  # fmt: skip
    parser.add_argument(
        "--as-stored", action="store_true",
        help="with a run folder: export without --integer-outputs and --widen; layers then run in "
             "float32 where codes have fewer than 8 bits or a residual addition follows",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Measure, or read what another tool measured, write and say what was found."""
    if options.by is not None and options.by not in _BY:
        raise InputError(f"--by {options.by!r} is unknown; {nearest(options.by, _BY)}")
    if options.read:
        _check_out(options.out)
        return run_reading(options)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if options.threads > (processors or os.cpu_count() or options.threads):
        raise InputError(
            f"--threads {options.threads}: this process may use {processors or os.cpu_count()} processors"
        )
    return _points(options) if Path(options.source).is_dir() else _table(options)


def _table(options: argparse.Namespace) -> int:
    _check_table(options)
    asked = [Precision.parse(label) for label in options.precisions or ()]

    from bitwright import plugins
    from bitwright.commands.measure_text import measured_document, measured_text
    from bitwright.measuring.host import measure_source
    from bitwright.measuring.results import Settings
    from bitwright.measuring.table import header_of, write_measured
    from bitwright.problems.formats import dump_json
    from bitwright.progress import Reporter
    from bitwright.sources import read_source, with_batch
    from bitwright.text import terminal_width

    runtime = plugins.create("runtimes", options.runtime)
    source = with_batch(read_source(options.source, options.input), options.batch)
    networks = not options.no_networks
    settings = Settings(
        precisions=tuple(dict.fromkeys(asked or runtime.precisions)),
        threads=options.threads,
        repeats=options.repeats,
        seed=options.seed,
        calibration=options.calibration * networks,
        validation=options.validation * networks,
    )
    journal = options.out.with_name(f"{options.out.name}.rounds")
    measured = measure_source(source, runtime, settings, journal, Reporter(options.quiet))
    header = header_of(measured, runtime, settings)
    unlisted = write_measured(options.out, measured, header, options.by or _BY[0])
    journal.unlink(missing_ok=True)
    if options.plot:
        from bitwright.measuring.plot import draw_prediction

        draw(options, draw_prediction(measured, header))
    document = measured_document(measured, header, unlisted, str(options.out))
    answer(dump_json(document) if options.json else measured_text(document, terminal_width()))
    return 0


def _check_table(options: argparse.Namespace) -> None:
    check_plot(options.plot)
    _check_out(options.out)
    if options.calibration < _FEWEST:
        raise InputError(
            f"--calibration must be at least {_FEWEST}: so many figures are fitted beside the factor of "
            f"each precision, got {options.calibration}"
        )
    if options.no_networks and options.plot:
        raise InputError("--plot shows whole networks, which --no-networks leaves out")
    for name in ("point", "as_stored"):
        if getattr(options, name):
            raise InputError(f"--{name.replace('_', '-')} goes with a run folder")


def _check_out(out: Path | None) -> None:
    if out is None:
        raise InputError("--out is missing: the file that the table of costs is written to")
    if out.suffix.lower() != ".csv":
        raise InputError(f"--out {out}: a table of costs ends in .csv")
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"--out {out}: name a file in a folder that is there")


def _points(options: argparse.Namespace) -> int:
    for name in _TABLE_ONLY:
        if getattr(options, name):
            raise InputError(f"--{name} goes with a network to measure, not with a run folder")

    from bitwright import plugins
    from bitwright.commands.measure_text import points_text
    from bitwright.measuring.points import PICTURE, RESULT, measure_points
    from bitwright.problems.formats import dump_json
    from bitwright.progress import Reporter
    from bitwright.text import terminal_width

    folder = Path(options.source)
    document = measure_points(
        folder,
        options.point,
        plugins.create("runtimes", options.runtime),
        threads=options.threads,
        repeats=options.repeats,
        seed=options.seed,
        in_integers=not options.as_stored,
        reporter=Reporter(options.quiet),
    )
    say(options, f"written: {folder / RESULT}, {folder / PICTURE}")
    answer(dump_json(document) if options.json else points_text(document, terminal_width()))
    return 0
