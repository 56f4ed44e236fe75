"""Reading what other tools measured or say of a device: profiles per layer, and target platform files.

`read_profile` reads a profile of `trtexec`, ONNX Runtime, TensorFlow Lite or OpenVINO, `map_profile`
says which layers of a network its rows are, and by which rule. `read_mct` makes a device of a target
platform file of Sony's Model Compression Toolkit.
"""

from bitwright.cost_models.readers.detecting import FORMATS as FORMATS
from bitwright.cost_models.readers.detecting import read_profile as read_profile
from bitwright.cost_models.readers.mapping import LayerTime as LayerTime
from bitwright.cost_models.readers.mapping import MappedRow as MappedRow
from bitwright.cost_models.readers.mapping import ProfileMapping as ProfileMapping
from bitwright.cost_models.readers.mapping import map_profile as map_profile
from bitwright.cost_models.readers.mct import read_mct as read_mct
from bitwright.cost_models.readers.profile import STATISTICS as STATISTICS
from bitwright.cost_models.readers.profile import Measurement as Measurement
from bitwright.cost_models.readers.profile import Profile as Profile
from bitwright.cost_models.readers.profile import Statistic as Statistic
