"""The grids of a quantized model in plain numbers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from bitwright.problems.formats.bits_yaml import GridFigures, LayerGrids
from bitwright.quantization.apply import applied_quantizers
from bitwright.quantization.grids import QuantizationGrid
from bitwright.quantization.low_rank import LowRankWeight
from bitwright.quantization.quantizers import DynamicQuantizer, Quantizer
from bitwright.quantization.variants import output_quantizers


def grid_figures(
    model: nn.Module, outputs: Mapping[str, str] | None = None
) -> dict[str, LayerGrids]:
    """The grids at work on every layer of a quantized model; casts and dynamic ranges have none.

    `outputs` names, for layers, the module whose output is rounded where the layer's variant says
    so, as `bitwright.networks.nonlinear.nonlinear_preactivations` does; by default the layer itself.
    """
    rounded = output_quantizers(model)
    found = {}
    for name, applied in applied_quantizers(model).items():
        weight = applied.weight
        factors = weight if isinstance(weight, LowRankWeight) else None
        found[name] = LayerGrids(
            weight=_figures(weight) if factors is None else None,
            input=_figures(applied.input),
            left=None if factors is None else _figures(factors.left),
            right=None if factors is None else _figures(factors.right),
            output=_figures(rounded.get((outputs or {}).get(name, name))),
        )
    return found


def _figures(quantizer: Quantizer | None) -> GridFigures | None:
    if quantizer is None or isinstance(quantizer, DynamicQuantizer):
        return None
    grid = getattr(quantizer, "grid", None)
    if not isinstance(grid, QuantizationGrid):
        return None
    return GridFigures(
        tuple(grid.scale.detach().flatten().tolist()),
        tuple(grid.zero_point.detach().int().flatten().tolist()),
        grid.quant_min,
        grid.quant_max,
        grid.channel_axis,
    )
