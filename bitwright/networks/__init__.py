"""Reading networks: layers, multiply-adds, fused modules and ties of a model, from one run."""

from bitwright.networks.evaluation import evaluation_mode as evaluation_mode
from bitwright.networks.evaluation import failures_reported as failures_reported
from bitwright.networks.layers import LAYER_TYPES as LAYER_TYPES
from bitwright.networks.layers import TRANSPOSED as TRANSPOSED
from bitwright.networks.layers import Layer as Layer
from bitwright.networks.layers import layers_of as layers_of
from bitwright.networks.onnx_reading import read_onnx as read_onnx
from bitwright.networks.pins import pin as pin
from bitwright.networks.reading import TracedNetwork as TracedNetwork
from bitwright.networks.reading import read_network as read_network
from bitwright.networks.tensors import as_inputs as as_inputs
from bitwright.networks.ties import DEFAULT_TIES as DEFAULT_TIES
from bitwright.networks.ties import TIE_RULES as TIE_RULES

__all__ = [
    "DEFAULT_TIES",
    "LAYER_TYPES",
    "TIE_RULES",
    "TRANSPOSED",
    "Layer",
    "TracedNetwork",
    "as_inputs",
    "evaluation_mode",
    "failures_reported",
    "layers_of",
    "pin",
    "read_network",
    "read_onnx",
]
