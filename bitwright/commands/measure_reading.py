"""Making a cost table of profiles that other tools recorded: `bitwright measure --read`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bitwright.commands.shared import answer, say
from bitwright.problems.errors import InputError
from bitwright.problems.precision import FLOAT32, Precision

if TYPE_CHECKING:
    from bitwright.cost_models.readers import ProfileMapping

_TYPES = {8: "int8", 16: "int16", 32: "float32"}


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what reading of profiles takes."""
    parser.add_argument(
        "--read", action="append", default=[], type=_recorded, metavar="PRECISION=FILE",
        help="make the table of a profile that another tool recorded with the whole network at this "
             "precision: trtexec --exportProfile, ONNX Runtime, TFLite benchmark CSV or OpenVINO "
             "counters (w8a8=int8.json); once per precision",
    )  # fmt: skip
    parser.add_argument(
        "--format", metavar="NAME",
        help="the tool that wrote the profiles: trtexec, onnxruntime, tflite or openvino (default: "
             "told by the content)",
    )  # fmt: skip
    parser.add_argument(
        "--statistic", metavar="NAME",
        help="what is taken of several runs: median, mean or min (default: the median where the "
             "file has it, else the mean)",
    )  # fmt: skip
    parser.add_argument(
        "--in-order", action="store_true",
        help="take rows that multiply and that neither name nor shape tells as the remaining layers "
             "in their order",
    )  # fmt: skip
    parser.add_argument(
        "--allow-missing", action="store_true",
        help="write the table although some layers have no row in a profile",
    )  # fmt: skip


def _recorded(text: str) -> tuple[Precision, str]:
    label, equals, path = text.partition("=")
    if not equals or not path:
        raise argparse.ArgumentTypeError(f"a profile is given like w8a8=FILE, got {text!r}")
    try:
        return Precision.parse(label), path
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_reading(options: argparse.Namespace) -> int:
    """Read the profiles, show which layers their rows are, and write the table to `options.out`.

    Rows are by operation where `by` says so, else by layer. Raises `InputError` where a layer has no
    row, after the mapping was shown, and writes nothing then.
    """
    from bitwright.cost_models.readers import map_profile, read_profile
    from bitwright.cost_models.readers.cost_rows import cost_header, cost_rows, operation_rows
    from bitwright.cost_models.tables.writing import write_cost_table
    from bitwright.sources import read_source

    labels = [precision for precision, _ in options.read]
    for precision in labels:
        if labels.count(precision) > 1:
            raise InputError(f"--read: two profiles are given for {precision}")
    profiles = {
        precision: read_profile(path, options.format, statistic=options.statistic)
        for precision, path in options.read
    }
    network = read_source(options.source, options.input).traced.description
    mappings = {
        precision: map_profile(profile, network, in_order=options.in_order)
        for precision, profile in profiles.items()
    }
    _show(options, mappings)
    _require_all(mappings, options.allow_missing)
    if getattr(options, "by", None) == "operation":
        rows, left_out = operation_rows(mappings)
        if left_out:
            say(
                options, f"in no row, for want of a key or a time of its own: {', '.join(left_out)}"
            )
    else:
        rows = cost_rows(mappings)
    write_cost_table(options.out, rows, cost_header(mappings))
    say(options, f"{options.out}: written")
    return 0


def _show(options: argparse.Namespace, mappings: Mapping[Precision, ProfileMapping]) -> None:
    warnings = {precision: warnings_of(precision, m) for precision, m in mappings.items()}
    if options.json:
        from bitwright.problems.formats import dump_json

        documents = {p.label: mapping_document(m, warnings[p]) for p, m in mappings.items()}
        answer(dump_json({"format": "bitwright-reading/1", "profiles": documents}))
        return
    from bitwright.commands.reading_text import mapping_text

    for (precision, path), mapping in zip(options.read, mappings.values(), strict=True):
        answer(mapping_text(f"{precision}: {path}", mapping, warnings[precision]))


def mapping_document(mapping: ProfileMapping, warnings: list[str]) -> dict[str, Any]:
    """The mapping of one profile as JSON; times in microseconds."""
    from bitwright.cost_models.readers.cost_rows import rounded

    def number(time: Any) -> float:
        return float(rounded(time))

    return {
        "tool": mapping.profile.tool,
        "notes": list(mapping.profile.notes),
        "warnings": warnings,
        "rows": [
            {
                "name": row.measurement.name,
                "operation": row.measurement.kind,
                "time_us": number(row.measurement.time_us),
                "role": "layer" if row.layers else row.role,
                "layers": list(row.layers),
                "rule": row.rule,
            }
            for row in mapping.rows
        ],
        "layers": {t.layer: number(t.time_us) for t in mapping.layer_times},
        "shared": [t.layer for t in mapping.layer_times if t.shared],
        "missing": list(mapping.missing),
        "layers_us": number(mapping.layers_us),
        "conversions_us": number(mapping.conversions_us),
        "other_us": number(mapping.other_us),
        "unmapped_us": number(mapping.unmapped_us),
        "total_us": number(mapping.profile.total_us),
    }


def warnings_of(precision: Precision, mapping: ProfileMapping) -> list[str]:
    """What the profile shows that does not go with the precision that it was given for."""
    wanted = _TYPES.get(max(precision.weight_bits, precision.activation_bits))
    if precision.variant or wanted is None:
        return []
    others: dict[str, int] = {}
    times = [t for t in mapping.layer_times if mapping.network[t.layer].quantizable]
    for time in times:
        if time.computed_in and wanted not in time.computed_in:
            name = "+".join(time.computed_in)
            others[name] = others.get(name, 0) + 1
    what = "float32" if precision == FLOAT32 else wanted
    return [
        f"{count} of {len(times)} layers ran in {name}, not in {what} as {precision} says"
        for name, count in sorted(others.items())
    ]


def _require_all(mappings: Mapping[Precision, ProfileMapping], allowed: bool) -> None:
    for precision, mapping in mappings.items():
        if not mapping.layer_times:
            raise InputError(
                f"{precision}: no row of the profile is a layer of {mapping.network.name!r}; where it "
                "was recorded with an ONNX file, that file as SOURCE knows its names"
            )
        if mapping.missing and not allowed:
            shown = ", ".join(repr(name) for name in mapping.missing[:5])
            more = f" and {len(mapping.missing) - 5} more" if len(mapping.missing) > 5 else ""
            raise InputError(
                f"{precision}: no row is layer {shown}{more}; --allow-missing writes the table without"
            )
