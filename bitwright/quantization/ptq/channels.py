"""Input and output channels of layers' weights, whatever the layer's kind and groups.

Axis 0 of a weight is the output channels (input channels in transposed convolutions) of all groups,
one after the other; axis 1 is the other side's channels of one group, repeated in every group.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn

from bitwright.networks import LAYER_TYPES, TRANSPOSED, Layer

Side = Literal["input", "output"]


def layer_modules(model: nn.Module, names: Iterable[str]) -> dict[str, Layer]:
    """Those of the names that are convolutions or `Linear` modules of the model, with the modules."""
    modules = dict(model.named_modules())
    return {name: modules[name] for name in names if isinstance(modules.get(name), LAYER_TYPES)}


def channel_count(layer: Layer, side: Side) -> int:
    """How many channels the layer reads or makes."""
    if isinstance(layer, nn.Linear):
        return layer.in_features if side == "input" else layer.out_features
    return layer.in_channels if side == "input" else layer.out_channels


def channel_factors(layer: Layer, side: Side, values: Tensor) -> Tensor:
    """One value per channel, shape (channels,), in a shape by which the weight can be multiplied."""
    rows, ones = len(layer.weight), [1] * (layer.weight.ndim - 2)
    if _is_first_axis(layer, side):
        return values.reshape(rows, 1, *ones)
    groups = _groups(layer)
    grouped = values.reshape(groups, 1, -1).expand(-1, rows // groups, -1)
    return grouped.reshape(rows, -1, *ones)


def channel_ranges(layer: Layer, side: Side) -> Tensor:
    """The largest magnitude among the weights of every channel, shape (channels,)."""
    weight = layer.weight.detach().abs()
    if _is_first_axis(layer, side):
        return weight.flatten(1).amax(dim=1)
    groups = _groups(layer)
    return weight.reshape(groups, len(weight) // groups, weight.shape[1], -1).amax((1, 3)).flatten()


def output_channel_axis(layer: nn.Module, output: Tensor) -> int:
    """The axis of a layer's output along which its channels run, with or without a batch axis."""
    assert isinstance(layer, LAYER_TYPES)
    spatial = layer.weight.ndim - 2
    return output.ndim - 1 - spatial


def _is_first_axis(layer: Layer, side: Side) -> bool:
    return (side == "input") == isinstance(layer, TRANSPOSED)


def _groups(layer: Layer) -> int:
    return 1 if isinstance(layer, nn.Linear) else layer.groups
