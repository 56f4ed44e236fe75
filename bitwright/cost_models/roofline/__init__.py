"""Roofline estimates of latency and energy from the figures of a device file.

`scaling` says what bits do to a compute type, `traffic` what every memory has to deliver, `estimate`
puts both together for one layer, and `model` is the cost model that the registry knows.
"""

from bitwright.cost_models.roofline.estimate import LayerEstimate as LayerEstimate
from bitwright.cost_models.roofline.estimate import estimate as estimate
from bitwright.cost_models.roofline.model import Roofline as Roofline
