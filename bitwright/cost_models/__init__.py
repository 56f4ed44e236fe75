"""Cost models: what each precision of each layer costs on the hardware, and `tabulate` to ask them all.

To add one, write a class with a `name` that carries the unit (`latency_us`), `cost(layer, precision)`
and `fixed_cost(network)`, as `bitwright.problems.costing.CostModel` says; its constructor's annotated
keyword arguments are its options. Register it under the entry point group `bitwright.cost_models`.
"""

from bitwright.cost_models.arithmetic import BitOperations as BitOperations
from bitwright.cost_models.arithmetic import MeanWeightBits as MeanWeightBits
from bitwright.cost_models.arithmetic import WeightSize as WeightSize
from bitwright.cost_models.peak_activation import PeakActivation as PeakActivation
from bitwright.cost_models.roofline import Roofline as Roofline
from bitwright.cost_models.stored_size import PackedSize as PackedSize
from bitwright.cost_models.stored_size import StoredSize as StoredSize
from bitwright.cost_models.tables.table import CostTable as CostTable
from bitwright.cost_models.tabulate import LayerCosts as LayerCosts
from bitwright.cost_models.tabulate import tabulate as tabulate
