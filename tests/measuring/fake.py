"""A runtime and a clock of which every time is known."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import onnx

from bitwright.measuring import timing
from bitwright.problems import Precision

EMPTY_US, CHANGE_US = 2.0, 3.0
CHANGES = "changes"


def weight_us(shape, in_codes):
    """What one weight of that shape takes; kernels of one pixel gain less by codes."""
    if not in_codes:
        return 0.03
    return 0.01 if len(shape) == 4 and shape[-1] > 1 else 0.025


class Clock:
    """A clock that stands still unless told; it counts exactly."""

    def __init__(self, monkeypatch):
        self.seconds = Fraction(0)
        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: self.seconds))

    def pass_(self, microseconds):
        self.seconds += Fraction(microseconds) / 10**6


class FakeRuntime:
    """A run takes 2 us, what its weights take, and 3 us a change of precision; biases are for nothing.

    Weights of 4 bits take 1.5 times what those of 8 bits take.

    `refuses` is a type of nodes of which it loads no model in codes.
    """

    name, version = "fake", "1.2"
    precisions = (Precision(32, 32), Precision(8, 8))

    def __init__(self, clock, refuses="", interrupted_after=None):
        self.clock, self.refuses, self.left = clock, refuses, interrupted_after
        self.runs = 0

    def load(self, model, inputs, threads):
        proto = onnx.load_from_string(model)
        weights = [i for i in proto.graph.initializer if len(i.dims) > 1]
        in_codes = any(i.data_type != onnx.TensorProto.FLOAT for i in weights)
        if in_codes and any(node.op_type == self.refuses for node in proto.graph.node):
            raise RuntimeError(f"no kernel for\n{self.refuses}")
        us = EMPTY_US
        for tensor in weights:
            coded = tensor.data_type != onnx.TensorProto.FLOAT
            slower = 1.5 if tensor.data_type == onnx.TensorProto.UINT8 else 1
            us += slower * weight_us(tensor.dims, coded) * int(np.prod(tensor.dims))
        us += CHANGE_US * sum(i.dims[0] for i in proto.graph.initializer if i.name == CHANGES)
        assert {given.name for given in proto.graph.input} == set(inputs)

        def run():
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt
            self.runs += 1
            self.clock.pass_(us)

        return run

    def runs_as(self, model):
        return ""


def model_of(layers, changes=0):
    """An ONNX model that holds the weights of layers, given as pairs of a module and its precision.

    Codes of 4 bits are UINT8, others INT8; `changes` of precision are counted by a tensor's length.
    """
    helper, types = onnx.helper, onnx.TensorProto
    counted = types(name=CHANGES, data_type=types.INT8, dims=[changes], raw_data=bytes(changes))
    tensors, nodes = [counted], [helper.make_node("Identity", ["x"], ["y"])]
    for number, (module, precision) in enumerate(layers):
        codes = types.UINT8 if precision.weight_bits == 4 else types.INT8
        kind = types.FLOAT if precision.is_float32 else codes
        shape = tuple(module.weight.shape)
        data = np.zeros(shape, np.float32 if kind == types.FLOAT else np.int8).tobytes()
        tensors.append(types(name=f"w{number}", data_type=kind, dims=shape, raw_data=data))
        nodes.append(helper.make_node(type(module).__name__, ["x", f"w{number}"], [f"z{number}"]))
    given, made = (helper.make_tensor_value_info(name, types.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph(nodes, "fake", [given], [made], tensors)
    return helper.make_model(graph).SerializeToString()


class Silent:
    """A bar that shows nothing."""

    def update(self, done, total, note=""):
        """Say nothing."""
