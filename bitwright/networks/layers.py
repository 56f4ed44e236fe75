"""Which modules and calls of functions are layers, and what is known of one from its call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from bitwright.problems.errors import InputError, nearest

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYER_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED, nn.Linear)
Layer = (
    nn.Conv1d
    | nn.Conv2d
    | nn.Conv3d
    | nn.ConvTranspose1d
    | nn.ConvTranspose2d
    | nn.ConvTranspose3d
    | nn.Linear
)
FUNCTIONS = {
    "linear": "Linear",
    **{f"conv{n}d": f"Conv{n}d" for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": f"ConvTranspose{n}d" for n in (1, 2, 3)},
}
"""Functions that take a weight as their second argument, and the layer that each computes."""


def layers_of(model: nn.Module, names: Iterable[str]) -> dict[str, Layer]:
    """The layers of these names; raises `InputError` for a name that is no layer of the model."""
    known = {name: m for name, m in model.named_modules() if isinstance(m, LAYER_TYPES)}
    layers: dict[str, Layer] = {}
    for name in names:
        if name not in known:
            raise InputError(f"the model has no layer {name!r}; {nearest(name, known)}")
        layers[name] = known[name]
    return layers


def layer_kind(layer: nn.Module) -> str:
    """Name of the torch class that a layer is, or derives from; of other modules, of their class."""
    kinds = (kind.__name__ for kind in LAYER_TYPES if isinstance(layer, kind))
    return next(kinds, type(layer).__name__)


@dataclass(frozen=True)
class Geometry:
    """The sizes of a layer that tables of measured costs are keyed by; None or empty: it has none.

    `kernel` and `stride` have one entry per spatial dimension, none in linear layers.
    """

    in_channels: int | None = None
    out_channels: int | None = None
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    groups: int | None = None


NO_GEOMETRY = Geometry()


def geometry_of_module(module: nn.Module) -> Geometry:
    """The sizes of a layer module; nothing is known of other modules."""
    if isinstance(module, nn.Linear):
        return Geometry(module.in_features, module.out_features, groups=1)
    if not isinstance(module, LAYER_TYPES):
        return NO_GEOMETRY
    convolution: Any = module
    return Geometry(
        convolution.in_channels,
        convolution.out_channels,
        tuple(convolution.kernel_size),
        tuple(convolution.stride),
        convolution.groups,
    )


def geometry_of_call(
    kind: str, weight: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Geometry:
    """The sizes of a call of one of `FUNCTIONS` with this weight."""
    if kind == "Linear":
        return Geometry(weight.shape[-1], weight.shape[0] if weight.ndim > 1 else 1, groups=1)
    kernel = tuple(weight.shape[2:])
    stride = args[3] if len(args) > 3 else kwargs.get("stride", 1)
    groups = args[6] if len(args) > 6 else kwargs.get("groups", 1)
    rows, columns = weight.shape[0], weight.shape[1] * groups
    inside, outside = (rows, columns) if kind.startswith("ConvT") else (columns, rows)
    strides = (stride,) if isinstance(stride, int) else tuple(stride)
    if len(strides) != len(kernel):
        strides *= len(kernel)
    return Geometry(inside, outside, kernel, strides, groups)
