"""Executing models by qonnx."""

from __future__ import annotations

import copy

import pytest


@pytest.fixture
def known_version(monkeypatch):
    """Versions that ONNX Runtime knows: qonnx gives every node a model of the newest one."""
    from qonnx.core import onnx_exec

    make = onnx_exec.qonnx_make_model
    monkeypatch.setattr(
        onnx_exec, "qonnx_make_model", lambda *a, **k: make(*a, **{**k, "ir_version": 10})
    )


def executed(proto, image):
    """What qonnx computes."""
    from qonnx.core import onnx_exec
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes

    model = ModelWrapper(copy.deepcopy(proto)).transform(InferShapes())
    (found,) = onnx_exec.execute_onnx(model, {model.graph.input[0].name: image.numpy()}).values()
    return found
