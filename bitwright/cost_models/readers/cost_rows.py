"""A cost table of mapped profiles: one row per layer and precision, and what belongs to no layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from bitwright.cost_models.readers.mapping import LayerTime, ProfileMapping
from bitwright.cost_models.tables.rows import CostRow
from bitwright.problems.errors import InputError
from bitwright.problems.operation import OperationKey, operation_calls, operation_keys
from bitwright.problems.precision import FLOAT32, Precision

COST = "latency_us"
_DECIMALS = 4  # a tenth of a nanosecond


def cost_rows(mappings: Mapping[Precision, ProfileMapping]) -> list[CostRow]:
    """Rows of the table by layer, in the network's order, then by precision.

    A layer that cannot be quantized ran in float32, whatever the others did: its row says so, and is
    taken from the profile of float32 where there is one, else from the first.
    """
    first = next(iter(mappings))
    float_from = FLOAT32 if FLOAT32 in mappings else first
    rows: dict[str, list[CostRow]] = {layer.name: [] for layer in mappings[first].network}
    for precision, mapping in mappings.items():
        for time in mapping.layer_times:
            if mapping.network[time.layer].quantizable:
                rows[time.layer].append(_row(time, precision))
            elif precision == float_from:
                rows[time.layer].append(_row(time, FLOAT32))
    return [row for of_layer in rows.values() for row in of_layer]


def _row(time: LayerTime, precision: Precision) -> CostRow:
    return CostRow(
        time.layer,
        precision,
        {COST: rounded(time.time_us)},
        spreads={} if time.spread_us is None else {COST: rounded(time.spread_us)},
        runs_as="+".join(time.computed_in),
    )


def operation_rows(
    mappings: Mapping[Precision, ProfileMapping],
) -> tuple[list[CostRow], list[str]]:
    """Rows by operation, each the mean over its layers, and the layers that no row is made of.

    Those have no operation key, or shared a row of the profile with others: such a time is an
    estimate, good for this network alone.
    """
    first = next(iter(mappings.values()))
    shared = {t.layer for m in mappings.values() for t in m.layer_times if t.shared}
    groups: dict[tuple[OperationKey, Precision], list[tuple[CostRow, int]]] = {}
    left_out = [name for name in first.network.names if name in shared]
    for row in cost_rows(mappings):
        layer = first.network[str(row.key)]
        if layer.name in left_out:
            continue
        try:
            key = operation_keys(layer)[0]
        except InputError:
            left_out.append(layer.name)
            continue
        groups.setdefault((key, row.precision), []).append((row, operation_calls(layer)))
    rows = [_mean_row(key, precision, group) for (key, precision), group in groups.items()]
    return rows, left_out


def _mean_row(
    key: OperationKey, precision: Precision, group: Sequence[tuple[CostRow, int]]
) -> CostRow:
    times = [Fraction(row.costs[COST]) / calls for row, calls in group]
    spreads = [Fraction(row.spreads[COST]) / calls for row, calls in group if row.spreads]
    return CostRow(
        key,
        precision,
        {COST: rounded(sum(times, Fraction(0)) / len(times))},
        spreads={COST: rounded(max(spreads))} if len(spreads) == len(group) else {},
        runs_as="+".join(sorted({row.runs_as for row, _ in group} - {""})),
    )


def cost_header(mappings: Mapping[Precision, ProfileMapping]) -> dict[str, str | Fraction]:
    """What stands above the table: where it comes from, and the time that belongs to no layer.

    `rest_us` is the least of the profiles. What a profile has beyond that, such as the conversions of
    one precision, is spread over the layers at that precision by `factor_us_...`, so that layers
    and rest make up the whole profile. `conversions_us_...`, `other_us_...` and `unmapped_us_...` are
    the parts of what belongs to no layer.
    """
    network = next(iter(mappings.values())).network
    rest = min(mapping.rest_us for mapping in mappings.values())
    header: dict[str, str | Fraction] = {
        "runtime": ", ".join(sorted({m.profile.tool for m in mappings.values()})),
        "network": network.name,
        "batch": str(network.layers[0].input_shape[0]),
        "input": "x".join(str(size) for size in network.layers[0].input_shape),
        "spread": "distance of the quartiles over the runs",
        "rest_us": rounded(rest),
    }
    for precision, mapping in mappings.items():
        header[f"profile_{precision}"] = "; ".join(mapping.profile.notes)
        beyond, layers = mapping.rest_us - rest, mapping.layers_us
        header[f"factor_us_{precision}"] = rounded(1 + beyond / layers if layers else Fraction(1))
        for name in ("conversions_us", "other_us", "unmapped_us"):
            header[f"{name}_{precision}"] = rounded(getattr(mapping, name))
    return header


def rounded(time: Fraction) -> Fraction:
    """A time in microseconds with four decimals."""
    return round(time, _DECIMALS)
