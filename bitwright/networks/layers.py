"""Which modules are layers, and how many multiply-adds one call of a layer takes."""

from __future__ import annotations

from collections.abc import Iterable

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


def layers_of(model: nn.Module, names: Iterable[str]) -> dict[str, Layer]:
    """The layers of these names; raises `InputError` for a name that is no layer of the model."""
    known = {name: m for name, m in model.named_modules() if isinstance(m, LAYER_TYPES)}
    layers: dict[str, Layer] = {}
    for name in names:
        if name not in known:
            raise InputError(f"the model has no layer {name!r}; {nearest(name, known)}")
        layers[name] = known[name]
    return layers


def layer_kind(layer: Layer) -> str:
    """Name of the torch class that the layer is, or that its class derives from."""
    return next(kind.__name__ for kind in LAYER_TYPES if isinstance(layer, kind))


def call_macs(layer: Layer, input_: Tensor, output: Tensor) -> int:
    """Multiply-adds of one call, batch included; biases are not counted.

    `weight[0]` is what one output element reads or, transposed, what one input element feeds.
    """
    elements = input_.numel() if isinstance(layer, TRANSPOSED) else output.numel()
    return elements * layer.weight[0].numel()
