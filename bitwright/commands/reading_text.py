"""Which layers the rows of a profile are, for people."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from bitwright.text import share, terminal_width, text_table, wrapped

if TYPE_CHECKING:
    from bitwright.cost_models.readers import MappedRow, ProfileMapping

_LONGEST_LIST = 12


def mapping_text(title: str, mapping: ProfileMapping, warnings: list[str]) -> str:
    """The rows with their layers, rules and times; then sums, what is missing, and warnings."""
    total = mapping.profile.total_us
    rows = [_row(row, total) for row in mapping.rows]
    head = ["row of the profile", "layer", "rule", "us", "share"]
    parts = [
        f"{wrapped(title)}\n{wrapped('; '.join((mapping.profile.tool, *mapping.profile.notes)))}",
        text_table(head, rows, terminal_width()),
        _sums(mapping),
    ]
    if mapping.unmapped:
        names = [row.measurement.name for row in mapping.unmapped]
        of_all = share(float(mapping.unmapped_us), float(total))
        parts.append(wrapped(f"not mapped ({of_all} of the time): {_listed(names)}"))
    if mapping.missing:
        parts.append(wrapped(f"layers without a row: {_listed(list(mapping.missing))}"))
    parts += [wrapped(f"warning: {warning}") for warning in warnings]
    return "\n\n".join(parts)


def _row(row: MappedRow, total: Fraction) -> list[str]:
    layers = " + ".join(row.layers) or "-"
    rule = row.rule or {"layer": "not mapped", "unknown": "not mapped"}.get(row.role, row.role)
    if len(row.layers) > 1:
        rule += ", split by multiply-adds"
    time = float(row.measurement.time_us)
    return [row.measurement.name, layers, rule, f"{time:,.2f}", share(time, float(total))]


def _sums(mapping: ProfileMapping) -> str:
    total = mapping.profile.total_us
    sums = {
        f"{len(mapping.layer_times)} of {len(mapping.network)} layers": mapping.layers_us,
        "conversions": mapping.conversions_us,
        "other operations": mapping.other_us,
        "not mapped": mapping.unmapped_us,
        "total": total,
    }
    rows = [
        [name, f"{float(time):,.2f}", share(float(time), float(total))]
        for name, time in sums.items()
    ]
    return text_table(["sum", "us", "share"], rows)


def _listed(names: list[str]) -> str:
    more = len(names) - _LONGEST_LIST
    return ", ".join(names[:_LONGEST_LIST]) + (f" and {more} more" if more > 0 else "")
