"""Write a configuration for other tools: ONNX Runtime, FINN, TensorRT, or plain YAML.

The network of a run is exported as it was trained for the bits (QAT) where `verify` kept that, else
with its float weights quantized after training (PTQ).
Exit status: 0 done, 2 bad usage or input.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitwright.commands.shared import answer, seed
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats import dump_json
from bitwright.problems.precision import Precision
from bitwright.text import terminal_width, text_table, wrapped

EXAMPLES = """examples:
  bitwright export runs/digits --to qdq --out digits.onnx
  bitwright export runs/digits --point 3 --to qonnx --out digits_qonnx.onnx
  bitwright export runs/digits/solutions/small.json --to ort-overrides --out overrides.json
  bitwright export solution.json --to tensorrt-precisions --out precisions.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("source", metavar="RUN_OR_SOLUTION", help="run folder, or solution file")
    parser.add_argument(
        "--point", metavar="K",
        help="which point of the run: a solution's name, or the name or number (from 1) of a "
             "verified point; without verification, of a front point (default: the first solution)",
    )  # fmt: skip
    parser.add_argument(
        "--to", required=True, metavar="TARGET",
        help="qdq, qonnx, tensorrt-precisions, ort-overrides or yaml",
    )  # fmt: skip
    parser.add_argument(
        "--weights", default="best", metavar="WHICH",
        help="qat: as trained for these bits; ptq: quantized after training; best: qat where the run "
             "kept it (default)",
    )  # fmt: skip
    parser.add_argument("--seed", type=seed, help="seed of the training (default: the first)")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="file to write")
    parser.add_argument(
        "--integer-outputs", action="store_true",
        help="with --to qdq: round outputs of 8-bit convolutions that are not quantized anyway to 8 "
             "bits, so that ONNX Runtime runs them in integers; the run did not measure that",
    )  # fmt: skip
    parser.add_argument(
        "--widen", action="store_true",
        help="with --to qdq: store codes of fewer than 8 bits in 8, so that ONNX Runtime runs these "
             "layers in integers, too; the file is larger",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    parser.add_argument("--quiet", action="store_true", help="no messages on stderr")


def run(options: argparse.Namespace) -> int:
    """Write the export and say what it holds."""
    from bitwright.pipeline.exporting import TARGETS, choose, export
    from bitwright.progress import Reporter

    if options.to not in TARGETS:
        raise InputError(f"--to {options.to!r} is unknown; {nearest(options.to, TARGETS)}")
    if options.out.is_dir() or not options.out.parent.is_dir():
        missing = options.out if options.out.is_dir() else options.out.parent
        what = "is a folder" if options.out.is_dir() else "is no folder"
        raise InputError(f"--out {options.out}: {str(missing)!r} {what}; name a file in one")
    chosen = choose(
        options.source,
        options.point,
        Reporter(options.quiet),
        weights=options.weights,
        seed=options.seed,
    )
    document = export(
        chosen,
        options.to,
        options.out,
        integer_outputs=options.integer_outputs,
        widen=options.widen,
    )
    answer(dump_json(document) if options.json else export_text(document))
    return 0


def export_text(document: Mapping[str, Any]) -> str:
    """The bits of every layer as they are stored, the sizes, and what should be known."""
    cells = {name: _cells(entry) for name, entry in document["layers"].items()}
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    rows = [[name, *(row.get(column, "-") for column in columns)] for name, row in cells.items()]
    table = text_table(["layer", *columns], rows, terminal_width())
    lines = []
    if "file_bytes" in document:
        lines.append(
            f"{document['file_bytes']:,} bytes: {document['initializer_bytes']:,} of tensors, "
            f"{document['overhead_bytes']:,} of graph; opset {document['opset']}"
        )
    if "weights" in document:
        why = document.get("why_untrained")
        because = f", since the trained network does not fit: {why}" if why else ""
        lines.append(f"Weights: {document['weights']}{because}.")
    lines += [f"{note}." for note in document.get("notes", ())]
    lines.append(f"Written: {', '.join(document['files'])}")
    return "\n\n".join([table, "\n".join(map(wrapped, lines))])


def _cells(entry: Mapping[str, Any]) -> dict[str, str]:
    """What the table says of a layer, by column."""
    if "weight_type" not in entry:
        precision = Precision(
            entry["weight_bits"], entry["activation_bits"], entry.get("variant", "")
        )
        computed = {"computed as": entry["type"]} if "type" in entry else {}
        return {"bits": precision.label} | computed
    cells = {
        "weights": _held(entry["weight_bits"], entry["weight_type"]),
        "inputs": _held(entry["activation_bits"], entry["activation_type"]),
    }
    if "rank" in entry:
        cells["rank"] = str(entry["rank"])
    if "output_bits" in entry:
        cells["outputs"] = _held(entry["output_bits"], entry["output_type"])
    return cells


def _held(bits: int, kind: str) -> str:
    """Codes and the type that holds them: `int8`, or `3 bits in int4`."""
    is_whole = int("".join(filter(str.isdigit, kind))) == bits
    return kind if is_whole else f"{bits} bits in {kind}"
