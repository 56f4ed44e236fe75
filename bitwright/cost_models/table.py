"""Costs looked up in a table that was measured on a device: CSV, one row per layer and precision."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from bitwright.problems import InputError, LayerDescription, NetworkDescription, Precision, nearest
from bitwright.problems.formats.json_text import naming
from bitwright.problems.formats.table_csv import Row, Table, read_table


class CostTable:
    """Measured costs by layer name; a row that is missing is an error, never a zero.

    `cost` is the column to read and the name of the cost, unit included. `provenance` holds the
    lines `# key: value` on top of the file: device, date, batch, repeats, spread, and `overhead_us`,
    what an empty run costs, which is part of no layer's cost here. Numbers stay the decimals that
    were written.
    """

    def __init__(self, *, file: Path, cost: str = "latency_us") -> None:
        self.file = Path(file)
        self.name = cost
        table = read_table(self.file)
        if "layer" not in table.columns and "op" in table.columns:
            raise InputError(
                f"{self.file}: the table is keyed by operation (column 'op'); "
                "so far only tables keyed by 'layer' are read"
            )
        table.require(("layer", "weight_bits", "activation_bits", cost))
        self.provenance: Mapping[str, str] = table.header
        self._rows = _by_layer(table, cost)

    def cost(self, layer: LayerDescription, precision: Precision) -> Decimal:
        """The measured cost of the layer; raises `InputError` where the table has no such row."""
        missing = f"{self.file}: no row for layer {layer.name!r} at {precision}"
        rows = self._rows.get(layer.name)
        if rows is None:
            raise InputError(f"{missing}; {nearest(layer.name, self._rows)}")
        if precision not in rows:
            covered = ", ".join(str(known) for known in sorted(rows))
            raise InputError(f"{missing}; for this layer it covers {covered}")
        return rows[precision]

    def fixed_cost(self, network: NetworkDescription) -> int:  # noqa: ARG002 - the protocol's signature
        """Nothing is added: a sum of layers is no end-to-end figure, with or without the overhead."""
        return 0


def _by_layer(table: Table, cost: str) -> dict[str, dict[Precision, Decimal]]:
    by_layer: dict[str, dict[Precision, Decimal]] = {}
    for row in table.rows:
        layer, precision = row.text("layer"), _precision(row)
        rows = by_layer.setdefault(layer, {})
        if precision in rows:
            raise InputError(
                f"{row.source}: line {row.line}: layer {layer!r} at {precision} is given twice"
            )
        rows[precision] = row.number(cost)
        if rows[precision] < 0:
            row.fail(cost, "must not be negative")
    return by_layer


def _precision(row: Row) -> Precision:
    weight, activation = row.integer("weight_bits"), row.integer("activation_bits")
    with naming(row.source, f"line {row.line}"):
        return Precision(weight, activation, row.cells.get("variant", ""))
