"""ONNX models to measure: networks in float32, inputs for them, and timing several beside an empty run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bitwright.measuring.journal import Journal
from bitwright.measuring.runtime import Inputs, Runtime
from bitwright.measuring.timing import Times, pinned_to, time_in_rounds
from bitwright.progress import Reporter
from bitwright.quantization.export.graph import LOWEST_OPSET, float_graph, require

EMPTY = "empty run"


def float_model(model: nn.Module, inputs: tuple[Any, ...]) -> bytes:
    """A network in float32 for the batch of these inputs."""
    with torch.no_grad():
        graph = float_graph(model.eval(), inputs, opset=LOWEST_OPSET, dynamic_batch=False)
    return serialized(graph.proto)


def empty_model() -> bytes:
    """A model that does nothing to a single number."""
    onnx = require("onnx")
    given, made = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"
    )
    nodes = [onnx.helper.make_node("Identity", ["x"], ["y"])]
    opsets = [onnx.helper.make_opsetid("", LOWEST_OPSET)]
    graph = onnx.helper.make_graph(nodes, "empty", [given], [made])
    return serialized(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10))


def random_inputs(model: bytes, seed: int) -> Inputs:
    """Random values of the types and shapes that a model takes."""
    onnx = require("onnx")
    generator, made = np.random.default_rng(seed), {}
    for given in onnx.load_from_string(model).graph.input:
        tensor = given.type.tensor_type
        shape = tuple(dim.dim_value or 1 for dim in tensor.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        values = generator.random(shape) * (1 if dtype.kind == "f" else 100)
        made[given.name] = values.astype(dtype)
    return made


def serialized(proto: Any) -> bytes:
    """The same bytes for the same model, by which a journal knows it."""
    return bytes(proto.SerializeToString(deterministic=True))


def batch_of(inputs: tuple[Any, ...]) -> int:
    """The length of the first axis of the first input; 1 for an input that is no tensor."""
    first = inputs[0] if inputs else None
    return int(first.shape[0]) if isinstance(first, torch.Tensor) and first.ndim else 1


def time_models(
    models: Mapping[str, bytes],
    runtime: Runtime,
    *,
    threads: int,
    repeats: int,
    seed: int,
    journal: Path,
    reporter: Reporter,
) -> dict[str, Times]:
    """Time models, and an empty one (`EMPTY`) beside them, in shuffled rounds; times by name.

    Rounds are kept in the file `journal`, which stays: a killed measurement of the same models in
    the same runtime, with the same threads and seed, goes on from there.
    """
    files = {EMPTY: empty_model(), **models}
    what = {
        "models": {name: hashlib.sha256(model).hexdigest() for name, model in files.items()},
        "runtime": [runtime.name, runtime.version],
        "threads": threads,
        "seed": seed,
    }
    known = Journal(journal, hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest())
    if finished := len(known.rounds()):
        reporter.say(f"{journal}: going on after {finished} rounds")
    with pinned_to(threads), reporter.bar(f"measuring {len(files)} models") as bar:
        return time_in_rounds(
            files,
            lambda: {
                name: runtime.load(model, random_inputs(model, seed), threads)
                for name, model in files.items()
            },
            repeats=repeats,
            seed=seed,
            journal=known,
            bar=bar,
        )
