"""Costs looked up in a table that was measured on a device: CSV, one row per operation and precision."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from bitwright.cost_models.device_option import DeviceOption
from bitwright.cost_models.devices import load_device
from bitwright.cost_models.tables import changes, notes
from bitwright.cost_models.tables.interpolation import LEAST_ROWS, Group, group_of, likeness
from bitwright.cost_models.tables.lookup import Figure, Found, Rows, table_precision
from bitwright.cost_models.tables.prediction import batch_of, read_prediction
from bitwright.cost_models.tables.reading import read_cost_table
from bitwright.problems.costing import Candidates, CostInteraction, CostSource
from bitwright.problems.device import Device
from bitwright.problems.errors import InputError
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.operation import OperationKey
from bitwright.problems.precision import Precision


class CostTable:
    """Measured costs by layer or by operation; a row that is missing is an error, never a zero.

    `cost` is the column to read and the name of the cost, unit included. `device` names a bundled
    device, or a device file: a precision without a row of its own takes the row of what it runs as
    there; the device of a run is asked where the option is not given. With `interpolate`, operations
    that were not measured are estimated from those that were. `end_to_end` predicts figures of whole
    networks by the lines in the table's head, by default where it has any besides the empty run;
    otherwise totals are sums of layers. Figures are exact.

    `provenance` holds the lines `# key: value` on top of the file.
    """

    def __init__(
        self,
        *,
        file: Path,
        cost: str = "latency_us",
        device: DeviceOption | None = None,
        interpolate: bool = False,
        end_to_end: bool | None = None,
    ) -> None:
        self.file, self.name = Path(file), cost
        data = read_cost_table(self.file, (cost,))
        if interpolate and not data.by_operation:
            raise InputError(
                f"{self.file}: interpolate needs a table keyed by operation; names of layers say "
                "nothing of their sizes"
            )
        self.provenance: Mapping[str, str] = data.header
        self.prediction = read_prediction(data, cost)
        self.end_to_end = self.prediction.is_end_to_end if end_to_end is None else end_to_end
        self.interpolate = interpolate
        self.device = None if device is None else load_device(device)
        self.network: NetworkDescription | None = None
        self.batch = batch_of(data)
        self._own_device = device is not None
        self._rows = Rows(data)
        self._figures: dict[tuple[LayerDescription, Precision], Figure] = {}
        self._groups: dict[object, Group] = {}

    def for_network(self, network: NetworkDescription, device: Device | None) -> CostTable:
        """The same table for one network, and for the run's device unless the option names another.

        Raises `InputError` where a table by operation was measured with another batch than the
        network's convolutions read.
        """
        bound = copy.copy(self)
        bound.network, bound._figures = network, {}
        if device is not None and not self._own_device:
            bound.device = device
        other = notes.other_batch(network, self.batch)
        if self._rows.by_operation and other is not None:
            raise InputError(
                f"{self.file}: measured with a batch of {self.batch}, but layer {other.name!r} reads "
                f"{other.input_shape}; describe the network with the batch of the table"
            )
        return bound

    def cost(self, layer: LayerDescription, precision: Precision) -> Fraction:
        """The measured cost of the layer; raises `InputError` where no row serves it."""
        return self._figure(layer, precision).amount

    def fixed_cost(self, network: NetworkDescription) -> Fraction:
        """Of an end-to-end prediction: the empty run, and what of this network belongs to no layer."""
        head, none = self.prediction, Fraction(0)
        if not self.end_to_end:
            return none
        rest = head.rest or none
        return (head.overhead or none) + (rest if self.is_of(network) else none)

    def is_of(self, network: NetworkDescription) -> bool:
        """Whether the table is of this network: by the name in its head, or as all its layers are."""
        if self.prediction.network == network.name:
            return True
        return not self._rows.by_operation and set(self._rows.by_key) <= set(network.names)

    def interactions(
        self, network: NetworkDescription, candidates: Candidates
    ) -> Sequence[CostInteraction]:
        """Of an end-to-end prediction: the changes of precision along the network's links."""
        if not (self.end_to_end and self.prediction.has_changes):
            return []
        return changes.change_costs(
            network, candidates, self.prediction, lambda *asked: self._figure(*asked).precision
        )

    def source(self, layer: LayerDescription, precision: Precision) -> CostSource:
        """Which row a figure comes from, what it runs as, and its spread."""
        return self._figure(layer, precision).source

    def notes(self) -> Sequence[str]:
        """How the table was measured, what totals are, and which figures were estimated."""
        return notes.notes_of(self, self._figures)

    def _figure(self, layer: LayerDescription, precision: Precision) -> Figure:
        asked = (layer, precision)
        if asked not in self._figures:
            found = self._rows.find(layer, precision, self.device)
            if found is not None:
                self._figures[asked] = self._measured(layer, precision, found)
            elif self.interpolate:
                self._figures[asked] = self._estimated(layer, precision)
            else:
                raise self._rows.missing(layer, precision, self.device)
        return self._figures[asked]

    def _measured(self, layer: LayerDescription, precision: Precision, found: Found) -> Figure:
        row = found.row
        factor = found.calls * self._factor(row.precision, found.runs_as)
        spread = row.spreads.get(self.name)
        source = CostSource(
            runs_as=self._type_name(layer, precision, row.runs_as),
            spread=None if spread is None else factor * Fraction(spread),
            text=notes.source_text(found, layer, row.key, factor),
        )
        return Figure(factor * Fraction(row.costs[self.name]), row.precision, source, found)

    def _estimated(self, layer: LayerDescription, precision: Precision) -> Figure:
        """An estimate among rows of the precision itself, or else of what it runs as."""
        runs_as = table_precision(layer, precision, self.device)
        name = self._type_name(layer, precision)
        tried = []
        for key in self._rows.keys(layer):
            for sought in dict.fromkeys((precision, runs_as)):
                assert isinstance(key, OperationKey)
                group = self._group(key, sought, name)
                tried.append(f"{key.op} at {sought}: {group.range_text()}")
                if group.covers(key):
                    return self._from_group(layer, key, sought, group)
        missing = self._rows.missing(layer, precision, self.device)
        raise InputError(
            f"{missing}; interpolation needs {LEAST_ROWS} rows or more of this kernel, stride and "
            f"grouping, and a size among theirs; there are {'; '.join(dict.fromkeys(tried))}"
        )

    def _group(self, key: OperationKey, precision: Precision, runs_as: str) -> Group:
        """The rows to estimate from, put together and judged once for all operations alike."""
        known = (likeness(key), precision, runs_as)
        if known not in self._groups:
            self._groups[known] = group_of(self._rows, key, precision, self.name, runs_as)
        return self._groups[known]

    def _from_group(
        self, layer: LayerDescription, key: OperationKey, precision: Precision, group: Group
    ) -> Figure:
        runs_as = table_precision(layer, precision, self.device)
        factor = self._rows.calls(layer) * self._factor(precision, runs_as)
        amount, error = factor * group.estimate(key), group.error
        source = CostSource(
            runs_as=self._type_name(layer, precision, group.runs_as),
            spread=None if error is None else float(amount) * error,
            interpolated=True,
            text=f"estimated for {key} from {len(group.keys)} rows at {precision}"
            + (f", measured as {group.runs_as}" if group.runs_as else ""),
        )
        return Figure(amount, precision, source, error=error)

    def _factor(self, row: Precision, runs_as: Precision) -> Fraction:
        if not self.end_to_end:
            return Fraction(1)
        factor = self.prediction.factor_of(row, runs_as)
        if factor is None:
            key = f"factor_{self.name.rpartition('_')[2]}"
            known = ", ".join(sorted(f"{key}_{p}" for p in self.prediction.factors))
            raise InputError(
                f"{self.file}: the head has no factor for rows at {row}; it has {known}; "
                f"add {key}_{row}, or {key} for all others"
            )
        return factor

    def _type_name(self, layer: LayerDescription, precision: Precision, measured: str = "") -> str:
        """What a choice runs as: what was measured, where the device has such a type, or its rule."""
        if self.device is None or measured in {c.name for c in self.device.compute_types}:
            return measured
        return self.device.layer_runs_as(layer, precision) or measured
