"""A cost table of mapped profiles: one row per layer and precision, and what belongs to no layer."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from bitwright.cost_models.readers.mapping import LayerTime, ProfileMapping
from bitwright.problems.errors import InputError
from bitwright.problems.formats.atomic import write_atomic
from bitwright.problems.precision import FLOAT32, Precision

COLUMNS = (
    "layer", "weight_bits", "activation_bits", "variant", "latency_us", "latency_us_spread", "runs_as",
)  # fmt: skip
_DECIMALS = 4


def cost_rows(mappings: Mapping[Precision, ProfileMapping]) -> list[dict[str, str]]:
    """Rows of the table by layer, in the network's order, then by precision.

    A layer that cannot be quantized ran in float32, whatever the others did: its row says so, and is
    taken from the profile of float32 where there is one, else from the first.
    """
    rows = []
    for name in next(iter(mappings.values())).network.names:
        for precision, mapping in mappings.items():
            time = next((t for t in mapping.layer_times if t.layer == name), None)
            runs_in = precision if mapping.network[name].quantizable else FLOAT32
            stands = runs_in == precision or (
                FLOAT32 not in mappings and precision == next(iter(mappings))
            )
            if time is not None and stands:
                rows.append(_row(time, runs_in))
    return rows


def _row(time: LayerTime, precision: Precision) -> dict[str, str]:
    return {
        "layer": time.layer,
        "weight_bits": str(precision.weight_bits),
        "activation_bits": str(precision.activation_bits),
        "variant": precision.variant,
        "latency_us": microseconds(time.time_us),
        "latency_us_spread": "" if time.spread_us is None else microseconds(time.spread_us),
        "runs_as": "+".join(time.computed_in),
    }


def cost_header(mappings: Mapping[Precision, ProfileMapping]) -> dict[str, str]:
    """What stands above the table: where it comes from, and the time that belongs to no layer.

    `rest_us` is the mean over the profiles, and with a precision behind it the one of that profile;
    `conversions_us_...`, `other_us_...` and `unmapped_us_...` are its parts.
    """
    first = next(iter(mappings.values()))
    header = {
        "runtime": ", ".join(sorted({m.profile.tool for m in mappings.values()})),
        "network": first.network.name,
        "spread": "distance of the quartiles over the runs",
        "rest_us": microseconds(
            sum((m.rest_us for m in mappings.values()), Fraction(0)) / len(mappings)
        ),
    }
    for precision, mapping in mappings.items():
        header[f"profile_{precision}"] = "; ".join(mapping.profile.notes)
        header[f"rest_us_{precision}"] = microseconds(mapping.rest_us)
        header[f"conversions_us_{precision}"] = microseconds(mapping.conversions_us)
        header[f"other_us_{precision}"] = microseconds(mapping.other_us)
        header[f"unmapped_us_{precision}"] = microseconds(mapping.unmapped_us)
    return header


def microseconds(time: Fraction) -> str:
    """A time to a tenth of a nanosecond, without zeros at its end.

    >>> microseconds(Fraction(10, 3)), microseconds(Fraction(1000))
    ('3.3333', '1000')
    """
    scaled = round(time * 10**_DECIMALS)
    whole, part = divmod(scaled, 10**_DECIMALS)
    return f"{whole}.{part:0{_DECIMALS}d}".rstrip("0").rstrip(".")


def write_cost_rows(
    path: str | Path, rows: Sequence[Mapping[str, str]], header: Mapping[str, str]
) -> None:
    """Write the table atomically, its header as lines `# key: value`; columns without values are left out."""
    if not rows:
        raise InputError(f"{path}: there is no row to write")
    needed = ("layer", "weight_bits", "activation_bits", "latency_us")
    columns = [name for name in COLUMNS if name in needed or any(row[name] for row in rows)]
    text = io.StringIO()
    for key, value in header.items():
        text.write(f"# {key}: {' '.join(value.split())}\n")
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())
