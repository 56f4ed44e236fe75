"""Tables of measured costs: reading, looking up, predicting whole networks, and writing.

| file | what it does |
|---|---|
| `rows`, `reading`, `writing` | a row and its checks, CSV in and out |
| `lookup`, `interpolation` | which row serves a layer, and estimates between rows |
| `prediction`, `changes` | from layers to end-to-end: factors, overhead, changes of precision |
| `table`, `notes` | the cost model, and what it says of its figures |
"""

from bitwright.cost_models.tables.notes import total_spread as total_spread
from bitwright.cost_models.tables.reading import CostData as CostData
from bitwright.cost_models.tables.reading import read_cost_table as read_cost_table
from bitwright.cost_models.tables.rows import CostRow as CostRow
from bitwright.cost_models.tables.table import CostTable as CostTable
from bitwright.cost_models.tables.writing import write_cost_table as write_cost_table
