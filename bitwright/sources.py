"""Where a network to look at comes from: a run configuration, an ONNX file, torchvision, a function."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bitwright.networks import TracedNetwork, read_network, read_onnx
from bitwright.networks.torchvision_import import import_torchvision
from bitwright.problems.errors import BitwrightError, InputError, nearest
from bitwright.problems.precision import LeastPrecision, Precision

Shapes = Sequence[tuple[int, ...]]
_IMAGE = (1, 3, 224, 224)
_IMAGE_OF = {"inception_v3": (1, 3, 299, 299), "ssdlite320": (1, 3, 320, 320)}
_VIDEO = (1, 3, 16, 112, 112)
_FRAMES = ((1, 3, 128, 128), (1, 3, 128, 128))


@dataclass(frozen=True, eq=False)
class SourceNetwork:
    """A network that was read, the pins and the device of its source, and the model with the inputs of one run.

    An ONNX file gives no `model`.
    """

    traced: TracedNetwork
    pins: Mapping[str, Precision | LeastPrecision] = field(default_factory=dict)
    model: nn.Module | None = None
    inputs: tuple[Any, ...] = ()
    device: str | Path | None = None


def read_source(source: str, shapes: Shapes, ties: Sequence[str] | None = None) -> SourceNetwork:
    """Read the network that a text names.

    A run configuration (`.yaml`), an ONNX file, `torchvision:NAME` or `module.path:function`, which
    returns a model. `shapes` are those of the inputs, batch included; none: the source's own, or an
    image of 224 x 224. `ties` are rules; None: the source's own, or the default. Raises `InputError`.
    """
    suffix = Path(source).suffix.lower()
    if suffix in (".yaml", ".yml"):
        return _from_run_config(source, shapes, ties)
    rules = {} if ties is None else {"ties": ties}
    if suffix == ".onnx":
        return SourceNetwork(read_onnx(source, shapes, **rules))
    where, colon, name = source.rpartition(":")
    if not colon or not where or not name:
        raise InputError(
            f"source {source!r}: expected a run configuration (.yaml), an ONNX file (.onnx), "
            "torchvision:NAME or module.path:function"
        )
    if where == "torchvision":
        model, inputs = _from_torchvision(name, shapes)
    else:
        model = _from_function(where, name)
        inputs = _random(shapes or [_IMAGE])
    return SourceNetwork(read_network(model, inputs, name, **rules), model=model, inputs=inputs)


def with_batch(source: SourceNetwork, batch: int | None) -> SourceNetwork:
    """The same network read with another length of the first axis of every input; None: as it is.

    Raises `InputError` where an input is no tensor, or there is no model to run.
    """
    if batch is None:
        return source
    name, tensors = source.traced.description.name, source.inputs
    if source.model is None or not all(isinstance(t, torch.Tensor) and t.ndim for t in tensors):
        raise InputError(f"network {name!r}: a batch can be set where every input is a tensor")
    inputs = _random([(batch, *tensor.shape[1:]) for tensor in tensors])
    traced = read_network(source.model, inputs, name)
    traced = replace(
        traced, description=replace(traced.description, ties=source.traced.description.ties)
    )
    return replace(source, traced=traced, inputs=inputs)


def _from_run_config(path: str, shapes: Shapes, ties: Sequence[str] | None) -> SourceNetwork:
    from bitwright import plugins
    from bitwright.run_config import read_run_config

    config = read_run_config(path)
    task = plugins.create("tasks", config.task.name, config.task.options)
    model = _seeded(task.build_model)
    inputs = _random(shapes) if shapes else task.example_inputs()
    rules = config.ties if ties is None else ties
    traced = read_network(model, inputs, config.name, ties=rules)
    return SourceNetwork(traced, config.pins, model, inputs, config.device)


def _from_torchvision(name: str, shapes: Shapes) -> tuple[nn.Module, tuple[Any, ...]]:
    models = import_torchvision().models
    known = models.list_models()
    if name not in known:
        raise InputError(f"torchvision has no model {name!r}; {nearest(name, known)}")
    builder = models.get_model_builder(name)
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in inspect.signature(builder).parameters:
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False  # their own way to draw them takes minutes
    model = _seeded(lambda: builder(**options))
    family = builder.__module__.removeprefix("torchvision.models.").partition(".")[0]
    if family == "video":
        return model, _random(shapes or [_VIDEO])
    if family == "optical_flow":
        return model, _random(shapes or _FRAMES)
    default = next((s for start, s in _IMAGE_OF.items() if name.startswith(start)), _IMAGE)
    inputs = _random(shapes or [default])
    if family == "detection":  # a list of images, each without a batch axis
        return model, ([image for batch in inputs for image in batch],)
    return model, inputs


def _from_function(module: str, name: str) -> nn.Module:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        home = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.startswith(error.name):
            raise InputError(f"source {module}:{name}: there is no module {error.name!r}") from None
        raise
    function = getattr(home, name, None)
    if not callable(function):
        callables = [n for n, v in vars(home).items() if callable(v)]
        raise InputError(f"module {module!r} has no function {name!r}; {nearest(name, callables)}")
    try:
        model = _seeded(function)
    except BitwrightError:
        raise
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{module}:{name}() failed: {what}") from error
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{module}:{name}() must return a torch module, got {type(model).__name__}"
        )
    return model


def _seeded(build: Any) -> nn.Module:
    """Random weights are the same every time, for a detector computes with what it finds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = build()
        return model


def _random(shapes: Shapes) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(shape, generator=generator) for shape in shapes)
